import { createTokens } from 'concordat/tokens'
import { postgresTokens } from 'concordat/tokens/postgres'
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
      contents: async () => JSON.stringify((await databases.sql.query('SELECT * FROM concordat.token')).rows),
      close: () => databases.drop(),
    }
  })

  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE password (hash text)')
  })
  afterAll(() => database.drop())

  test('redeeming commits with what it is for, or not at all', async () => {
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

  test('who waits for a redeeming that is rolled back gets the token', async () => {
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

  test('each new token takes away ten that are long over, and none that is not', async () => {
    const { sql } = database
    await using tokens = createTokens({ store: postgresTokens({ sql }) })
    const count = async () =>
      (await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM concordat.token')).rows[0]?.n
    await sql.query('DELETE FROM concordat.token')
    await sql.query(`INSERT INTO concordat.token SELECT 'old' || n, 'a', '1', now(), now() - interval '2 hours'
      FROM generate_series(1, 25) n`)
    await sql.query(`INSERT INTO concordat.token VALUES ('fresh', 'a', '1', now(), now() - interval '5 min')`)
    const left: unknown[] = []
    for (let n = 0; n < 4; n++) {
      await tokens.issue('a', 1, 60_000)
      left.push(await count())
    }
    expect(left).toEqual([17, 8, 4, 5])
  })
})
