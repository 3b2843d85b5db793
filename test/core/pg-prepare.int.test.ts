import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { uniqueName } from '../outbox/support/messages.ts'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith, startServer } from '../support/servers/index.ts'

describeWith(['postgres'], 'a transaction that is prepared', () => {
  let database: TestDatabase
  let sql: SqlClient
  beforeAll(async () => {
    database = await createPlainDatabase()
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
  ])('is refused permanently when it used %s', async (_, text) => {
    const gid = uniqueName('p')
    const failed = prepare(gid, async (tx) => void (await tx.query(text)))
    await expect(failed).rejects.toMatchObject({ code: 'core.sql_cannot_prepare', retryable: false })
    expect(await prepared(gid)).toBe(0)
    expect((await sql.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  /** Settings that one user of a connection may have left for the next. */
  const LEFT = `SELECT coalesce(current_setting('app.tenant', true), '') AS tenant,
    current_setting('statement_timeout') AS timeout,
    (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
    (SELECT count(*)::int FROM pg_prepared_statements WHERE from_sql) AS statements`
  const NOTHING = { tenant: '', timeout: '0', locks: 0, statements: 0 }

  test.each([
    ['SET', "SET app.tenant = 'ann'"],
    ['SET SESSION of several statements', "SET LOCAL app.other = 'x'; SET SESSION statement_timeout = 7000"],
    ['set_config for the session', "SELECT set_config('app.tenant', 'ann', false)"],
    ['a block that sets', "DO $$ BEGIN SET app.tenant = 'ann'; END $$"],
    ['an advisory lock of the session', 'SELECT pg_advisory_lock(7)'],
    ['PREPARE', 'PREPARE mine AS SELECT 1'],
  ])('leaves nothing on its connection for the next user when it used %s', async (_, text) => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const client = pgClient(pool)
    const [gid, refused] = [uniqueName('p'), uniqueName('p')]
    await client.prepare?.(gid, async (tx) => void (await tx.query(text)))
    expect((await client.query(LEFT)).rows).toEqual([NOTHING])
    await client.query(`ROLLBACK PREPARED '${gid}'`)
    const failed = client.prepare?.(refused, async (tx) => {
      await tx.query(text)
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    expect((await client.query(LEFT)).rows).toEqual([NOTHING])
    await pool.end()
  })

  test('keeps its connection when its settings end with it', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const client = pgClient(pool)
    const backend = async () => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0]
    const before = await backend()
    const gid = uniqueName('p')
    await client.prepare?.(gid, async (tx) => {
      await tx.query("SET LOCAL app.tenant = 'ann'")
      await tx.query("SELECT set_config('app.tenant', 'bob', true)")
      await insert(9)(tx)
    })
    await client.query(`ROLLBACK PREPARED '${gid}'`)
    expect(await backend()).toEqual(before)
    await pool.end()
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
