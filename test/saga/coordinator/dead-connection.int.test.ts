import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'a pool that hands out connections which have just ended', () => {
  it('costs a step of a saga no attempt: it is called when its transaction is open', async () => {
    const database = await createDatabase()
    const pool = new pg.Pool({ connectionString: database.url, max: 4 })
    onTestFinished(async () => {
      await pool.end()
      await database.drop()
    })
    let isBad = false
    let bad = 0
    const connect = async (): Promise<pg.PoolClient> => {
      const client = await pool.connect()
      if (!isBad || bad >= 3) return client
      bad++
      client.on('error', () => undefined)
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await database.sql.query('SELECT pg_terminate_backend($1::int)', [rows[0]?.pid])
      return client
    }
    const given = { query: pool.query.bind(pool), on: pool.on.bind(pool), connect } as unknown as pg.Pool
    const sql = pgClient(given)
    const outbox = createOutbox({ sql, service: 'test', partitions: 1 })
    await outbox.migrate()
    let calls = 0
    const saga = defineSaga('once', { version: 1, input: z.object({}) }).step('write', {
      transactional: true,
      retry: { maxAttempts: 1 },
      invoke: async ({ tx }) => {
        calls++
        await tx.query('SELECT $1::int', [1])
      },
      compensate: 'none',
    })
    const coordinator = createCoordinator({ sql, outbox, service: 'test', sagas: [saga] })
    onTestFinished(() => coordinator.close())
    await coordinator.migrate()
    await coordinator.run()
    isBad = true
    const run = await coordinator.start(saga, { id: 'a', input: {} })
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    expect({ calls, bad }).toEqual({ calls: 1, bad: 3 })
  }, 30_000)
})
