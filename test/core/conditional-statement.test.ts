// oxlint-disable no-restricted-imports -- inside of the core: the rewriting of statements has no public name
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { conditional } from '../../core/conditional-statement.ts'

const FORMS: Readonly<Record<string, readonly [text: string, parameters: readonly unknown[]]>> = {
  'a function that writes': ['SELECT put($1, $2) AS written', [1, 'a']],
  'a function in FROM': ['SELECT n FROM put_all($1::int[]) AS n', [[2, 3]]],
  'a function without columns': ['SELECT FROM put(4, $1)', ['b']],
  'one row of VALUES': [`INSERT INTO t (n, body) VALUES ($1, (SELECT 'x' || max(c) FROM (VALUES ('(')) v(c)))`, [5]],
  'VALUES with a conflict': [
    'INSERT INTO t AS o VALUES ($1, $2) ON CONFLICT (n) DO UPDATE SET body = EXCLUDED.body WHERE o.n > 0 RETURNING n',
    [6, 'c'],
  ],
  'INSERT of a SELECT': [
    `INSERT INTO t (n, body) SELECT m.n, $2 FROM unnest($1::int[]) WITH ORDINALITY AS m(n, i) ORDER BY m.i -- all`,
    [[7, 8], 'where'],
  ],
  'INSERT of a SELECT with WHERE': [
    `INSERT INTO t (n, body) SELECT m, 'it''s' FROM generate_series(1, 20) m WHERE m = $1 OR m = $2 ON CONFLICT DO NOTHING RETURNING n`,
    [9, 10],
  ],
  UPDATE: [`UPDATE t SET body = 'RETURNING' WHERE n = $1 OR n = 101`, [100]],
  'UPDATE without WHERE': ['UPDATE t SET body = coalesce(body, $1)', ['d']],
  'UPDATE of others': ['UPDATE t SET body = o.body FROM t o WHERE t.n = 100 AND o.n = 101 RETURNING t.n', []],
  DELETE: ['DELETE FROM t WHERE n = ANY($1::int[]) RETURNING *', [[100]]],
  'WITH that writes': ['WITH gone AS (DELETE FROM t WHERE n = $1 RETURNING *) SELECT n FROM gone', [100]],
  'WITH and INSERT': [
    `WITH over AS (DELETE FROM t WHERE ctid = ANY(ARRAY(SELECT ctid FROM t LIMIT 1 FOR UPDATE))), clock AS MATERIALIZED (SELECT clock_timestamp() AS now) INSERT INTO t SELECT $1, now::text FROM clock RETURNING n`,
    [11],
  ],
  'WITH found and taken': [
    `WITH found AS MATERIALIZED (SELECT n FROM t WHERE n = $1 FOR UPDATE), taken AS (UPDATE t SET body = 'x' FROM found WHERE t.n = found.n RETURNING 1) SELECT n, EXISTS (SELECT 1 FROM taken) AS done FROM found`,
    [101],
  ],
  'WITH and UPDATE': [`WITH one AS (SELECT $1::int AS n) UPDATE t SET body = 'x' FROM one WHERE t.n = one.n`, [101]],
}

describe('conditional', () => {
  let db: PGlite
  beforeAll(async () => {
    db = await PGlite.create()
    await db.exec(`CREATE TABLE t (n int PRIMARY KEY, body text);
      CREATE FUNCTION put(a int, b text) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (a, b) RETURNING n';
      CREATE FUNCTION put_all(a int[]) RETURNS SETOF int LANGUAGE sql AS 'INSERT INTO t SELECT unnest(a) RETURNING n'`)
  }, 60_000)
  afterAll(() => db.close())

  const all = async () => (await db.query('SELECT * FROM t ORDER BY n')).rows

  test.for(Object.entries(FORMS))(
    '%s does nothing where the condition is false, and the same where it is true',
    async ([, [text, parameters]]) => {
      const pieces = conditional(text)
      expect(pieces).toBeDefined()
      const asked = async (statement: string) => {
        await db.exec(`BEGIN; TRUNCATE t; INSERT INTO t VALUES (100, 'old'), (101, 'older')`)
        try {
          const before = await all()
          const { rows, affectedRows } = await db.query(statement, [...parameters])
          return { rows, affectedRows, before, after: await all() }
        } finally {
          await db.exec('ROLLBACK')
        }
      }
      const of = (id: string) => `pg_current_xact_id_if_assigned() ${id} '5'::xid8`
      const not = await asked(pieces?.join(of('=')) ?? '')
      expect(not.rows).toEqual([])
      expect(not.after).toEqual(not.before)
      const plain = await asked(text)
      const done = await asked(pieces?.join(of('<>')) ?? '')
      const timeless = (value: unknown) => JSON.stringify(value).replaceAll(/\d{4}-\d\d-\d\d [\d:.+]+/g, 'now')
      expect(timeless(done)).toBe(timeless(plain))
    },
  )

  test.for([
    'INSERT INTO t VALUES (1), (2)',
    'INSERT INTO t (n, body) VALUES (1, DEFAULT)',
    'INSERT INTO t DEFAULT VALUES',
    `UPDATE t SET n = 1; DELETE FROM t`,
    `SET LOCAL statement_timeout = 1`,
    'INSERT INTO t SELECT 1 UNION SELECT 2',
    'MERGE INTO t USING o ON true WHEN MATCHED THEN DELETE',
  ])('takes no condition: %s', (text) => {
    expect(conditional(text)).toBeUndefined()
  })
})
