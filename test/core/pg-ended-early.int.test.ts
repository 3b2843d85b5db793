/** A transaction that user code ends past the client that owns it: nothing more of the owner is stored. */

import { type SqlExecutor, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { createPlainDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'

describeWith(['postgres'], 'pg', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPlainDatabase()
    await database.sql.query('CREATE TABLE effect (what text)')
  })
  afterAll(() => database.drop())

  /** A pool whose last connection user code has got hold of. */
  const setup = (max: number) => {
    const pool = new pg.Pool({ connectionString: database.url, max })
    onTestFinished(() => pool.end())
    const clients: (pg.PoolClient & { readonly processID?: number })[] = []
    pool.on('connect', (client) => void clients.push(client))
    const rawOf = async (tx: SqlExecutor): Promise<pg.PoolClient> => {
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      return clients.find(({ processID }) => processID === rows[0]?.pid) as pg.PoolClient
    }
    return { sql: pgClient(pool), rawOf }
  }
  const effects = async (like: string): Promise<readonly string[]> => {
    const { rows } = await database.sql.query<{ what: string }>('SELECT what FROM effect WHERE what LIKE $1', [like])
    return rows.map(({ what }) => what)
  }

  test.each([
    ['ROLLBACK', []],
    ['COMMIT', ['before']],
    ['ROLLBACK; BEGIN', []],
    ['COMMIT; BEGIN', ['before']],
    ['COMMIT AND CHAIN', ['before']],
  ])('%s on the raw client: no statement of the transaction follows', async (control, stored) => {
    const { sql, rawOf } = setup(1)
    for (const how of ['query', 'last', 'none'] as const) {
      const name = `${control} ${how}`
      const work = sql.transaction(async (tx) => {
        await tx.query('INSERT INTO effect VALUES ($1)', [`${name} before`])
        await (await rawOf(tx)).query(control)
        if (how === 'query') await tx.query('INSERT INTO effect VALUES ($1)', [`${name} after`])
        if (how === 'last') await tx.last?.('INSERT INTO effect VALUES ($1)', [`${name} after`])
      })
      await expect(work).rejects.toMatchObject({ code: 'core.sql_transaction_missing', retryable: false })
      expect(await effects(`${name}%`)).toEqual(stored.map((each) => `${name} ${each}`))
    }
    // The connection is as good as new.
    await sql.transaction(async (tx) => void (await tx.query('INSERT INTO effect VALUES ($1)', [`${control} next`])))
    expect(await effects(`${control} next`)).toHaveLength(1)
  })

  test('savepoints, errors and rollbacks to savepoints on the raw client are allowed', async () => {
    const { sql, rawOf } = setup(1)
    await sql.transaction(async (tx) => {
      await tx.query("INSERT INTO effect VALUES ('fine')")
      const raw = await rawOf(tx)
      await raw.query('SAVEPOINT s')
      await expect(raw.query('SELECT 1 / 0')).rejects.toMatchObject({ code: '22012' })
      await raw.query('ROLLBACK TO SAVEPOINT s')
      await tx.query("INSERT INTO effect VALUES ('fine')")
    })
    expect(await effects('fine')).toHaveLength(2)
  })

  test.each([true, false])('a transactional step that rolls back so does not complete (shared: %s)', async (shares) => {
    const { sql, rawOf } = setup(4)
    const saga = defineSaga('raw', { version: 1, input: z.object({}) }).step('write', {
      transactional: true,
      compensate: 'none',
      retry: { maxAttempts: 2, initialMs: 1 },
      invoke: async ({ tx, sagaId }) => {
        await tx.query('INSERT INTO effect VALUES ($1)', [`step ${sagaId}`])
        await (await rawOf(tx)).query('ROLLBACK')
      },
    })
    const service = createService({
      name: 'shop',
      schema: `raw_${shares}`,
      sql,
      transport: memoryTransport(),
      sagas: [saga],
      logger: silentLogger,
      parts: { coordinator: { sharesTransactions: shares } },
    })
    onTestFinished(() => service.close())
    await service.start()
    const run = await service.run(saga, { id: `a-${shares}`, input: {} })
    expect((await run.outcome({ timeoutMs: 10_000 })).status).not.toBe('completed')
    expect(await effects(`step a-${shares}`)).toEqual([])
  })
})
