import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith, startServer } from '../support/servers/index.ts'

describeWith(['postgres'], 'a transaction that is prepared', () => {
  let database: TestDatabase
  let sql: SqlClient
  beforeAll(async () => {
    database = await createDatabase()
    sql = database.sql
    await sql.query('CREATE TABLE kept (n int)')
  })
  afterAll(() => database.drop())

  const insert = (n: number) => (tx: { query: SqlClient['query'] }) => tx.query(`INSERT INTO kept VALUES (${n})`)

  async function prepare<T>(gid: string, work: Parameters<NonNullable<SqlClient['prepare']>>[1]): Promise<T> {
    return (await sql.prepare?.(gid, work)) as T
  }

  async function kept(): Promise<number[]> {
    return (await sql.query<{ n: number }>('SELECT n FROM kept ORDER BY n')).rows.map(({ n }) => n)
  }

  async function prepared(gid: string): Promise<number> {
    return (await sql.query('SELECT FROM pg_prepared_xacts WHERE gid = $1', [gid])).rows.length
  }

  test('stays invisible until another connection commits it', async () => {
    const gid = `it's "${uniqueName('p')}" \\`
    const value = await prepare(gid, async (tx) => {
      await insert(1)(tx)
      expect(tx.afterCommit).toBeUndefined()
      return 'done'
    })
    expect(value).toBe('done')
    expect(await kept()).not.toContain(1)
    await sql.query(`COMMIT PREPARED E'${gid.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`)
    expect(await kept()).toContain(1)
  })

  test('leaves nothing when its work rejects, or swallowed an error', async () => {
    const gid = uniqueName('p')
    const reason = new Error('mine')
    await expect(prepare(gid, () => Promise.reject(reason))).rejects.toBe(reason)
    const swallowing = prepare(gid, async (tx) => {
      await tx.query('SELECT * FROM missing').catch(() => undefined)
    })
    await expect(swallowing).rejects.toMatchObject({ code: 'core.sql_commit' })
    expect(await prepared(gid)).toBe(0)
  })

  test.each([
    ['a temporary table', 'CREATE TEMP TABLE gone (n int)'],
    ['LISTEN', 'LISTEN something'],
    ['a cursor that outlives it', 'DECLARE later CURSOR WITH HOLD FOR SELECT 1'],
  ])('is refused for good when it used %s', async (_, text) => {
    const gid = uniqueName('p')
    const failed = prepare(gid, async (tx) => void (await tx.query(text)))
    await expect(failed).rejects.toMatchObject({ code: 'core.sql_cannot_prepare', retryable: false })
    expect(await prepared(gid)).toBe(0)
    expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  test('is refused by a server that has them switched off, with the remedy', async () => {
    const server = await startServer('postgres', { settings: { max_prepared_transactions: '0' } })
    const pool = new pg.Pool({ connectionString: server.url, max: 1 })
    const failed = pgClient(pool).prepare?.('x', async (tx) => void (await tx.query('SELECT 1')))
    await expect(failed).rejects.toMatchObject({
      code: 'core.sql_cannot_prepare',
      message: expect.stringContaining('max_prepared_transactions'),
    })
    await pool.end()
    await server.stop()
  })
})
