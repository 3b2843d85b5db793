import { createBinder } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { it } from 'vitest'
import { z } from 'zod'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

const Input = z.object({})

describeWith(['postgres'], 'a pool with fewer connections than transactional steps', () => {
  it.for([2, 3, 10])('of %d loses no lease and turns no saga back', async (max, { expect, onTestFinished }) => {
    const pool = new pg.Pool({ connectionString: serverUrl('postgres'), max, connectionTimeoutMillis: 400 })
    const schema = `small_pool_${max}_${Date.now().toString(36)}`
    const lines: string[] = []
    const write = (_: unknown, message: string): void => void lines.push(message)
    const logger = { debug: () => {}, info: () => {}, warn: write, error: write }
    const sql = pgClient(pool)
    const outbox = createOutbox({ sql, service: 'shop', schema })
    let calls = 0
    const saga = defineSaga('slow', { version: 1, input: Input }).step('work', {
      transactional: true,
      compensate: 'none',
      invoke: async ({ tx }) => {
        calls++
        await tx.query('SELECT pg_sleep(0.7)')
      },
    })
    const coordinator = createCoordinator({
      service: 'shop',
      sql,
      outbox,
      schema,
      sagas: [saga],
      leaseMs: 1_500,
      logger,
    })
    const binder = createBinder({ service: 'shop', transport: memoryTransport(), bindings: coordinator.bindings })
    onTestFinished(async () => {
      await coordinator.close()
      await binder.close()
      await pool.query(`DROP SCHEMA "${schema}" CASCADE`)
      await pool.end()
    })
    await outbox.migrate()
    await coordinator.migrate()
    await binder.start()
    await coordinator.run()
    const count = 16
    const runs = []
    for (let i = 0; i < count; i++) runs.push(await coordinator.start(saga, { id: `s${i}`, input: {} }))
    const ends = await Promise.all(runs.map((run) => run.outcome({ timeoutMs: 60_000 })))
    expect(ends.map(({ status }) => status)).toEqual(ends.map(() => 'completed'))
    expect(calls).toBe(count)
    expect(lines.filter((line) => line.includes('lease lost') || line.includes('step failed'))).toEqual([])
  })
})
