/**
 * The cases of `statements-that-say-away.test.ts` on connections that can be lost: the statement's error, and the
 * connection's state.
 */
import type { SqlClient } from 'concordat/core'
import { kyselyClient } from 'concordat/core/orms'
import { pgClient } from 'concordat/core/pg'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- internal
import { sqlUnavailable } from '../../core/sql-unavailable.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

const READ_ONLY = ['SET TRANSACTION READ ONLY', 'INSERT INTO t VALUES (1)']
const raise = (code: string): string => `DO $$ BEGIN RAISE EXCEPTION 'legacy' USING ERRCODE = '${code}'; END $$`

describeWith(['postgres'], 'a statement in a transaction of PostgreSQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE t (n int)')
  })
  afterAll(() => database.drop())

  const poolOf = (): pg.Pool => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    pool.on('error', () => {}).on('connect', (connection) => connection.on('error', () => {}))
    onTestFinished(() => pool.end())
    return pool
  }
  const CLIENTS: ReadonlyArray<readonly [string, () => SqlClient]> = [
    ['pgClient', () => pgClient(poolOf())],
    [
      'kyselyClient',
      () =>
        kyselyClient(
          new Kysely({ dialect: new PostgresDialect({ pool: poolOf() }) }) as unknown as Parameters<
            typeof kyselyClient
          >[0],
        ),
    ],
  ]
  const thrownBy = (sql: SqlClient, texts: readonly string[]): Promise<unknown> =>
    sql
      .transaction(async (tx) => {
        for (const text of texts) await tx.query(text)
      })
      .catch((error: unknown) => error)

  it.each(CLIENTS)('of %s with a code of its own does not mark the connection as lost', async (_, open) => {
    const sql = open()
    for (const texts of [[raise('08006')], [raise('57P01')], [raise('53100')], READ_ONLY]) {
      const error = await thrownBy(sql, texts)
      expect([texts, typeof (error as { code?: unknown }).code, sqlUnavailable(error)]).toEqual([
        texts,
        'string',
        undefined,
      ])
    }
  })

  it('of dblink does not mark the connection as lost', async ({ skip }) => {
    const sql = pgClient(poolOf())
    const { rows } = await sql.query<{ n: number }>(`SELECT 1 AS n FROM pg_available_extensions WHERE name = 'dblink'`)
    skip(rows.length === 0, 'this server has no dblink: apt-get install postgresql-contrib')
    await sql.query('CREATE EXTENSION IF NOT EXISTS dblink')
    const error = await thrownBy(sql, [`SELECT dblink_connect('host=127.0.0.1 port=1 connect_timeout=1')`])
    expect([(error as { code?: unknown }).code, sqlUnavailable(error)]).toEqual(['08001', undefined])
  })

  it('of an XA participant does not mark the connection as lost either', async () => {
    const sql = pgClient(poolOf())
    for (const texts of [[raise('08006')], READ_ONLY]) {
      const error: unknown = await sql
        .prepare?.('away', async (tx) => {
          for (const text of texts) await tx.query(text)
        })
        .catch((thrown: unknown) => thrown)
      expect(sqlUnavailable(error)).toBeUndefined()
    }
  })

  it.each(CLIENTS)('of %s marks the database as down when its connection is lost', async (_, open) => {
    const error = await thrownBy(open(), ['SELECT pg_terminate_backend(pg_backend_pid())', 'SELECT 1'])
    expect(sqlUnavailable(error)).toBe('lost')
  })

  it.each(CLIENTS)('of %s marks the database as down while its server only reads', async (_, open) => {
    const name = new URL(database.url).pathname.slice(1)
    await database.sql.query(`ALTER DATABASE "${name}" SET default_transaction_read_only = on`)
    try {
      expect(sqlUnavailable(await thrownBy(open(), ['INSERT INTO t VALUES (1)']))).toBe('lost')
    } finally {
      await database.sql.query(
        `SET default_transaction_read_only = off; ALTER DATABASE "${name}" RESET default_transaction_read_only`,
      )
    }
  })
})
