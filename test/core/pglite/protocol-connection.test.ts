/** Statements on a PGlite: prepared when repeated, and correct beside other users of the same database. */
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { PgliteDatabase } from '../../support/inside/core.ts'
import { freshPglite } from '../../support/pglite.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())
beforeEach(async () => void (await sql.query('DROP TABLE IF EXISTS thing')))

const AGAIN = [1, 2, 3, 4]

async function prepared(): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name LIKE 'concordat%'`,
  )
  return rows[0]?.n ?? 0
}

describe('a repeated statement', () => {
  test('returns the same result, with any types', async () => {
    const text = `SELECT $1::int AS n, $2::text AS t, $3::jsonb AS j, $4::text[] AS a, $5::timestamptz AS at, $6::bytea AS b,
      $7::text AS nothing, $8::bigint AS big, $9::boolean AS yes, $10::float8 AS f`
    const at = new Date(1_700_000_000_123)
    const values = [
      1,
      "it's",
      { deep: [1] },
      ['x', 'y,"z'],
      at,
      new Uint8Array([0, 255]),
      null,
      '9007199254740993',
      true,
    ]
    const first = await database.query(text, [...values, 0.1])
    for (const _ of AGAIN) expect((await sql.query(text, [...values, 0.1])).rows).toEqual(first.rows)
    expect(await prepared()).toBeGreaterThan(0)
  })

  test('counts the rows that it touched', async () => {
    await sql.query('CREATE TABLE thing (n int)')
    for (const n of AGAIN) expect(await sql.query('INSERT INTO thing VALUES ($1)', [n])).toMatchObject({ rowCount: 1 })
    for (const n of AGAIN)
      expect(await sql.query('UPDATE thing SET n = n WHERE n <= $1 RETURNING n', [n])).toMatchObject({ rowCount: n })
  })

  test('fails as it did, without its values, and works again', async () => {
    await sql.query('CREATE TABLE thing (n int PRIMARY KEY, secret text)')
    const insert = (n: number) => sql.query('INSERT INTO thing VALUES ($1, $2)', [n, 'tulip'])
    for (const n of AGAIN) {
      await insert(n)
      const error: unknown = await insert(n).catch((failure: unknown) => failure)
      expect(error).toMatchObject({ code: '23505' })
      expect(error).not.toHaveProperty('params')
    }
  })

  test('in a transaction is rolled back and committed like any other', async () => {
    await sql.query('CREATE TABLE thing (n int)')
    const insert = 'INSERT INTO thing VALUES ($1)'
    for (const n of AGAIN) {
      await sql.transaction((tx) => tx.query(insert, [n]))
      const undone = sql.transaction(async (tx) => {
        await tx.query(insert, [n * 10])
        throw new Error('no')
      })
      await expect(undone).rejects.toThrow('no')
    }
    expect((await sql.query('SELECT n FROM thing ORDER BY n')).rows).toEqual(AGAIN.map((n) => ({ n })))
  })

  test('reads a moment anew each time: in the time zone of now, and as the time of now', async () => {
    const inZone = async (zone: string) => {
      await sql.query(`SET TIME ZONE '${zone}'`)
      const { rows } = await sql.query<{ ms: number }>(
        `SELECT extract(epoch FROM timestamptz '2026-01-01 00:00')::float8 * 1000 AS ms`,
      )
      return rows[0]?.ms
    }
    const utc = Date.UTC(2026, 0, 1)
    for (const _ of AGAIN) expect(await inZone('UTC')).toBe(utc)
    for (const _ of AGAIN) expect(await inZone('Asia/Tokyo')).toBe(utc - 9 * 3_600_000)
    await sql.query(`SET TIME ZONE 'UTC'`)
    const seen = new Set<unknown>()
    // PGlite's clock may not move while some of them run.
    for (let n = 0; n < 1_000 && seen.size < 2; n++) {
      const { rows } = await sql.query<{ at: string }>(`SELECT ('now'::timestamptz)::text AS at`)
      seen.add(rows[0]?.at)
    }
    expect(seen.size).toBeGreaterThan(1)
  })

  test('keeps a bounded number of statements prepared', async () => {
    for (let n = 0; n < 400; n++) for (const _ of [1, 2]) await sql.query(`SELECT ${n} AS n`)
    await sql.query('SELECT 1 AS n')
    expect(await prepared()).toBeLessThanOrEqual(301)
  })
})

describe('a table that changes under a statement that is prepared', () => {
  const select = 'SELECT n FROM thing'
  const insert = 'INSERT INTO thing (n) VALUES ($1)'
  const readAndWrite = async (n: unknown): Promise<void> => {
    for (const _ of AGAIN) await sql.query(insert, [n])
    for (const _ of AGAIN) await sql.query(select)
  }

  test.each([
    ['by the client', (text: string) => sql.query(text)],
    ['by a script of the client', (text: string) => sql.transaction(async (tx) => tx.script?.(text))],
    ['past the client', (text: string) => database.exec(text)],
  ])('%s: it fits the present table', async (_by, change) => {
    await sql.query('CREATE TABLE thing (n int)')
    await readAndWrite(1)
    await change('ALTER TABLE thing ALTER n TYPE jsonb USING to_jsonb(n)')
    await sql.query(insert, [{ deep: 2 }])
    expect((await sql.query(select)).rows).toContainEqual({ n: { deep: 2 } })
    await change('DROP TABLE thing')
    await change('CREATE TABLE thing (other text, n text)')
    await sql.query(insert, ['three'])
    expect((await sql.query(select)).rows).toEqual([{ n: 'three' }])
  })

  test('past the client, in a transaction: it fails once, and fits the next time', async () => {
    await sql.query('CREATE TABLE thing (n int)')
    await readAndWrite(1)
    await database.exec('ALTER TABLE thing ALTER n TYPE text')
    const read = () => sql.transaction(async (tx) => (await tx.query(select)).rows.length)
    await expect(read()).rejects.toMatchObject({ code: '0A000' })
    expect(await read()).toBe(AGAIN.length)
  })

  test('a column that is added is among all columns', async () => {
    await sql.query('CREATE TABLE thing (n int)')
    await sql.query(insert, [1])
    for (const _ of AGAIN) expect((await sql.query('SELECT * FROM thing')).rows).toEqual([{ n: 1 }])
    await database.exec('ALTER TABLE thing ADD COLUMN m int DEFAULT 2')
    const all = ['SELECT * FROM thing', 'SELECT t.* FROM thing t', 'UPDATE thing SET n = n RETURNING *']
    for (const text of all) expect((await sql.query(text)).rows).toEqual([{ n: 1, m: 2 }])
  })

  test('statements that another client deallocated are prepared again', async () => {
    for (const n of AGAIN) await sql.query('SELECT $1::int AS n', [n])
    await database.exec('DEALLOCATE ALL')
    expect((await sql.query('SELECT $1::int AS n', [5])).rows).toEqual([{ n: 5 }])
  })
})

describe('beside others on the same database', () => {
  test('statements of both take turns, and a transaction keeps the others out', async () => {
    await sql.query('CREATE TABLE thing (n int)')
    const insert = 'INSERT INTO thing VALUES ($1)'
    const seen: unknown[] = []
    await Promise.all([
      ...Array.from({ length: 20 }, (_, n) => sql.query(insert, [n])),
      ...Array.from({ length: 20 }, (_, n) => database.query(insert, [n])),
      sql.transaction(async (tx) => {
        await tx.query(insert, [100])
        await new Promise((resolve) => setTimeout(resolve, 10))
        await tx.query('DELETE FROM thing WHERE n = 100')
      }),
      database.transaction(async (tx) => void (await tx.query(insert, [20]))),
      database.query('SELECT count(*)::int AS n FROM thing WHERE n = 100').then(({ rows }) => seen.push(...rows)),
    ])
    expect(seen).toEqual([{ n: 0 }])
    expect((await sql.query('SELECT count(*)::int AS n FROM thing')).rows).toEqual([{ n: 41 }])
  })

  test('a transaction without a statement is none', async () => {
    expect(await sql.transaction(async () => 'done')).toBe('done')
    await expect(sql.transaction(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect((await sql.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }])
  })

  test('a lookalike of PGlite is called with its own query', async () => {
    const asked: string[] = []
    const query = async (text: string) => {
      asked.push(text)
      return { rows: [{ n: 1 }], affectedRows: 0 }
    }
    const lookalike: PgliteDatabase = { query, transaction: (work) => work({ query }) }
    const client = pgliteClient(lookalike)
    expect((await client.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }])
    await client.transaction((tx) => tx.query('SELECT 2 AS n'))
    expect(asked).toEqual(['SELECT 1 AS n', 'SELECT 2 AS n'])
  })
})
