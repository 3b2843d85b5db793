import { pgClient } from 'concordat/core/pg'
import { createTokens } from 'concordat/locks'
import { postgresTokens } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { tokensConformance } from '../../conformance/tokens.ts'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'tokens in PostgreSQL', () => {
  tokensConformance('PostgreSQL', async () => {
    const databases = await createDatabase(20)
    const stores = [postgresTokens({ sql: databases.sql }), postgresTokens({ sql: databases.sql })]
    for (const store of stores) await store.migrate()
    return {
      stores,
      contents: async () => JSON.stringify((await databases.sql.query('SELECT * FROM concordat.one_time_token')).rows),
      close: () => databases.drop(),
    }
  })

  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE password (hash text)')
  })
  afterAll(() => database.drop())

  test('redeeming commits with its transaction, or not at all', async () => {
    const { sql } = database
    const store = postgresTokens({ sql })
    await expect(createTokens({ store }).issue('a', 1, 1)).rejects.toMatchObject({ code: 'core.tables_missing' })
    await store.migrate()
    await using tokens = createTokens({ store })
    const { token } = await tokens.issue('a', 1, 60_000)
    const change = (fails: boolean) =>
      sql.transaction(async (tx) => {
        await tokens.redeem('a', token, { tx })
        await tx.query("INSERT INTO password VALUES ('new')")
        if (fails) throw new Error('the process died')
      })
    await expect(change(true)).rejects.toThrow('died')
    await change(false)
    await expect(change(false)).rejects.toMatchObject({ code: 'tokens.refused' })
    expect((await sql.query('SELECT * FROM password')).rows).toHaveLength(1)
  })

  test('a role without permissions on the table is reported as by any other store', async () => {
    const role = `tokens_${process.pid}`
    await database.sql.query(`CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA concordat TO ${role}`)
    const url = new URL(database.url)
    url.username = role
    const pool = new pg.Pool({ connectionString: url.href, max: 1 })
    await using tokens = createTokens({ store: postgresTokens({ sql: pgClient(pool) }) })
    await expect(tokens.issue('a', 1, 60_000)).rejects.toMatchObject({
      code: 'tokens.store_refused',
      message: expect.stringContaining('permission denied for table one_time_token') as string,
    })
    await pool.end()
    await database.sql.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  test('a second redeemer gets the token when the first one rolls back', async () => {
    const { sql } = database
    await using tokens = createTokens({ store: postgresTokens({ sql }) })
    const { token } = await tokens.issue('a', 'mine', 60_000)
    let second: Promise<unknown> | undefined
    const first = sql.transaction(async (tx) => {
      await tokens.redeem('a', token, { tx })
      second = tokens.redeem('a', token)
      throw new Error('undone')
    })
    await expect(first).rejects.toThrow('undone')
    expect(await second).toBe('mine')
  })

  test('a database that is down is reported as an unreachable store', async () => {
    const pool = new pg.Pool({ host: '127.0.0.1', port: 1, connectionTimeoutMillis: 2_000 })
    await using tokens = createTokens({ store: postgresTokens({ sql: pgClient(pool) }) })
    const unavailable = { code: 'tokens.store_unavailable', store: 'postgres', outcome: 'not_done' }
    await expect(tokens.issue('a', 1, 60_000)).rejects.toMatchObject(unavailable)
    await expect(tokens.redeem('a', 'x'.repeat(43))).rejects.toMatchObject(unavailable)
    await pool.end()
  })

  test('finds expired tokens by the index, among any number of valid ones', async () => {
    const { sql } = database
    await sql.query(`INSERT INTO concordat.one_time_token SELECT 'live' || n, 'a', '1', now(), now() + interval '1 day'
                     FROM generate_series(1, 20000) n`)
    await sql.query('ANALYZE concordat.one_time_token')
    await sql.transaction(async (tx) => {
      await using tokens = createTokens({ store: postgresTokens({ sql }) })
      const read = async (): Promise<number> => {
        const { rows } = await tx.query<{ n: number }>(
          `SELECT (pg_stat_get_xact_tuples_returned(c.oid) + coalesce(sum(pg_stat_get_xact_tuples_returned(i.indexrelid)), 0))::int AS n
           FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE c.oid = 'concordat.one_time_token'::regclass GROUP BY c.oid`,
        )
        return rows[0]?.n ?? Number.NaN
      }
      const before = await read()
      await tokens.issue('a', 1, 60_000, { tx })
      expect((await read()) - before).toBeLessThan(100)
    })
    await sql.query(`DELETE FROM concordat.one_time_token WHERE hash LIKE 'live%'`)
  })

  test('a token issued in a transaction that is rolled back never was', async () => {
    const { sql } = database
    await using tokens = createTokens({ store: postgresTokens({ sql }) })
    let token = ''
    const work = sql.transaction(async (tx) => {
      token = (await tokens.issue('a', 1, 60_000, { tx })).token
      throw new Error('undone')
    })
    await expect(work).rejects.toThrow('undone')
    await expect(tokens.redeem('a', token)).rejects.toMatchObject({ code: 'tokens.refused' })
  })

  test('each new token deletes ten that expired long ago, and no valid one', async () => {
    const { sql } = database
    await using tokens = createTokens({ store: postgresTokens({ sql }) })
    const count = async () =>
      (await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM concordat.one_time_token')).rows[0]?.n
    await sql.query('DELETE FROM concordat.one_time_token')
    await sql.query(`INSERT INTO concordat.one_time_token SELECT 'old' || n, 'a', '1', now(), now() - interval '2 hours'
      FROM generate_series(1, 25) n`)
    await sql.query(`INSERT INTO concordat.one_time_token VALUES ('fresh', 'a', '1', now(), now() - interval '5 min')`)
    const left: unknown[] = []
    for (let n = 0; n < 4; n++) {
      await tokens.issue('a', 1, 60_000)
      left.push(await count())
    }
    expect(left).toEqual([17, 8, 4, 5])
  })
})
