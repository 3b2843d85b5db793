/**
 * The server's clock is set back by an hour, or a standby whose clock is behind takes over. Resources of a dead process
 * are free after one lease, and a pause is no longer than intended. Each part that stores instants of that clock is a
 * case.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const LEASE_MS = 1_000
const WAIT_MS = 3_000
const LATER = `clock_timestamp() + interval '1 hour'`
const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload, groups: ['g'] })
const PATIENCE = { timeoutMs: 10_000 }
const ran: string[] = []
const charge = defineSaga('charge', { version: 1, input: Payload }).step('card', {
  invoke: ({ sagaId }) => void ran.push(sagaId),
  compensate: 'none',
})
const DEADLINE_MS = 300
const offer = defineSaga('offer', { version: 1, input: Payload, deadlineMs: DEADLINE_MS }).signal('accept', {
  payload: Payload,
})
const reminder = defineSaga('reminder', { version: 1, input: Payload })
  .timer('soon', { delay: DEADLINE_MS })
  .signal('reply', { payload: Payload, timeoutMs: DEADLINE_MS })
let isRepaired = false
const rescue = defineSaga('rescue', { version: 1, input: Payload })
  .step('begin', { pivot: true, invoke: () => {} })
  .parallel((group) =>
    group.timer('soon', { delay: DEADLINE_MS }).step('call', {
      retry: { maxAttempts: 1 },
      invoke: () => {
        if (!isRepaired) throw new Error('it is broken')
      },
    }),
  )

describe('moments that were written before the clock was set back', () => {
  const database = freshPglite()
  // Wrapped like a client that another process could share, so that nothing is freed because this client is the only
  // one.
  const { exclusive: _, ...sql } = pgliteClient(database)
  const outbox = createOutbox({ sql, service: 'late', partitions: 2 })
  const sagas = [charge, offer, reminder, rescue]
  const create = () =>
    createCoordinator({ service: 'late', sql, outbox, sagas, leaseMs: LEASE_MS, logger: silentLogger })
  const coordinator = create()
  beforeAll(async () => {
    await database.waitReady
    await outbox.migrate()
    await coordinator.migrate()
  }, 60_000)
  afterAll(() => database.close())

  test('hold up no outbox longer than one lease, and no message longer than the longest pause', async () => {
    await sql.transaction(async (tx) => {
      for (let n = 0; n < 4; n++) await outbox.add(tx, orders, { n })
    })
    await sql.query(`UPDATE concordat.outbox_lease SET owner = 'gone', lease_until = ${LATER}`)
    await sql.query(`INSERT INTO concordat.outbox_relay (owner, live_until) VALUES ('gone', ${LATER})`)
    await sql.query(`UPDATE concordat.outbox SET attempts = 1, strikes = 1, next_attempt_at = ${LATER}`)
    const transport = memoryTransport()
    const binder = createBinder({ service: 'late', transport, bindings: [], sends: [orders], logger: silentLogger })
    await binder.start()
    const relay = createRelay({
      outbox,
      publisher: binder,
      leaseMs: LEASE_MS,
      backoff: { initialMs: 10, maxMs: 500 },
      logger: silentLogger,
    })
    await relay.start()
    await until('all have left', async () => (await outbox.stats()).pending === 0)
    await relay.close()
    await binder.close()
  })

  test('hold up no saga of a process that is gone longer than one lease, and no pause of one', async () => {
    for (const id of ['leased', 'paused']) await coordinator.start(charge, { id, input: { n: 1 } })
    await sql.query(`UPDATE concordat.saga SET owner = 'gone', epoch = epoch + 1, due_at = ${LATER}`)
    await sql.query(
      `UPDATE concordat.saga SET owner = NULL, updated_at = ${LATER}, due_at = ${LATER} WHERE id = 'paused'`,
    )
    await coordinator.run()
    await until('both ran', () => ran.includes('leased') && ran.includes('paused'))
  })

  test('hold up no lock, in either mode, longer than one lease of its holder, for contenders that only try', async () => {
    const locks = postgresLocks({ sql, logger: silentLogger })
    await locks.migrate()
    for (const mode of ['exclusive', 'shared'] as const) {
      // The holder does not renew, as if its process had ended.
      await locks.acquire(mode, { mode, ttlMs: LEASE_MS, maxHoldMs: 0 })
      const table = mode === 'exclusive' ? 'lock_key' : 'lock_holder'
      await sql.query(`UPDATE concordat.${table} SET frees_us = frees_us + 3600000000 WHERE key = $1`, [mode])
      expect(await locks.tryAcquire(mode)).toBeUndefined()
      await until(`${mode} is free`, async () => (await locks.tryAcquire(mode)) !== undefined)
    }
    await locks.close()
  })

  test('put off no deadline of a saga, no timer and no time limit of a step', async () => {
    await coordinator.start(offer, { id: 'deadline', input: { n: 1 } })
    await coordinator.start(reminder, { id: 'timer', input: { n: 1 } })
    await coordinator.close()
    const moments = ['created_at', 'updated_at', 'due_at', 'deadline_at']
    const later = moments.map((name) => `${name} = ${name} + interval '1 hour'`).join(', ')
    await sql.query(`UPDATE concordat.saga SET ${later} WHERE id IN ('deadline', 'timer')`)
    const next = create()
    await next.run()
    expect(await next.get(offer, 'deadline').outcome(PATIENCE)).toMatchObject({
      status: 'compensated',
      failure: { code: 'saga.deadline' },
    })
    expect(await next.get(reminder, 'timer').outcome(PATIENCE)).toMatchObject({
      status: 'compensated',
      failure: { code: 'saga.no_signal' },
    })
    await next.close()
  })

  test('put off no timer beside a step on which its saga was stuck', async () => {
    const before = create()
    await before.run()
    const run = await before.start(rescue, { id: 'stuck', input: { n: 1 } })
    expect((await run.outcome(PATIENCE)).status).toBe('stuck')
    await before.close()
    await sql.query(`UPDATE concordat.saga SET updated_at = updated_at + interval '1 hour' WHERE id = 'stuck'`)
    isRepaired = true
    const next = create()
    await next.run()
    await next.retry({ saga: 'rescue', id: 'stuck' }, { by: 'ann', reason: 'it is repaired' })
    expect(await next.get(rescue, 'stuck').outcome(PATIENCE)).toMatchObject({ status: 'completed' })
    await next.close()
  })

  test('hold up no delayed message and no delayed retry of the PostgreSQL transport longer than it was to wait', async () => {
    const slow = defineChannel('slow', { payload: Payload, groups: ['g'] })
    const handled: string[] = []
    const start = async () => {
      const transport = postgresTransport({ sql, leaseMs: LEASE_MS, pollMs: 50 })
      await transport.migrate()
      const work = sink(
        slow,
        { group: 'g', retry: 'delayed', backoff: { initialMs: WAIT_MS } },
        ({ n }, { attempt }) => {
          handled.push(`${n}:${attempt}`)
          if (n === 1 && attempt === 1) throw new Error('not yet')
        },
      )
      const binder = createBinder({ service: 'late', transport, bindings: [work], logger: silentLogger })
      await binder.start()
      return binder
    }
    const before = await start()
    await before.send(slow, { n: 1 })
    await until('its retry waits', () => before.bindings()[0]?.retried === 1)
    await before.send(slow, { n: 2 }, { delayMs: WAIT_MS })
    await before.send(slow, { n: 3 }, { delayMs: 7_200_000 })
    await before.close()
    await sql.query(`UPDATE concordat.transport_delayed SET due = due + interval '1 hour'`)
    const after = await start()
    await until('both came', () => handled.includes('1:2') && handled.includes('2:1'))
    expect(handled).not.toContain('3:1')
    const { rows } = await sql.query<{ left: number }>(
      'SELECT extract(epoch FROM due - clock_timestamp())::float8 AS left FROM concordat.transport_delayed',
    )
    expect(rows).toHaveLength(1)
    expect(rows[0]?.left).toBeLessThanOrEqual(7_200)
    await after.close()
  })

  test('hold up no partition of the PostgreSQL transport longer than one lease', async () => {
    const handled: number[] = []
    const transport = postgresTransport({ sql, leaseMs: LEASE_MS, pollMs: 50 })
    await transport.migrate()
    const binder = createBinder({
      service: 'late',
      transport,
      bindings: [sink(orders, { group: 'g' }, ({ n }) => void handled.push(n))],
      logger: silentLogger,
    })
    await binder.start()
    await binder.send(orders, { n: 10 })
    await until('it is handled', () => handled.length === 1)
    await binder.close()
    await sql.query(
      `INSERT INTO concordat.transport_session (owner, live_until, groups) SELECT 'gone', ${LATER}, array_agg(id) FROM concordat.transport_group`,
    )
    await sql.query(`UPDATE concordat.transport_progress SET owner = 'gone'`)
    const next = postgresTransport({ sql, leaseMs: LEASE_MS, pollMs: 50 })
    const again = createBinder({
      service: 'late',
      transport: next,
      bindings: [sink(orders, { group: 'g' }, ({ n }) => void handled.push(n))],
      logger: silentLogger,
    })
    await again.start()
    for (let n = 0; n < 10; n++) await again.send(orders, { n })
    await until('all are handled', () => handled.length === 11)
    expect(new Set(handled).size).toBe(11)
    await again.close()
  })

  test('keep no segment of the PostgreSQL transport’s log longer than its retention', async () => {
    const schema = 'ring'
    const handled: number[] = []
    const start = async (limits: { readonly segmentMs?: number; readonly retentionMs?: number } = {}) => {
      const transport = postgresTransport({ sql, schema, leaseMs: LEASE_MS, pollMs: 50, ...limits })
      await transport.migrate()
      const work = sink(orders, { group: 'g' }, ({ n }) => void handled.push(n))
      const binder = createBinder({ service: 'late', transport, bindings: [work], logger: silentLogger })
      await binder.start()
      return binder
    }
    const before = await start()
    for (const n of [1, 2, 3, 4]) {
      await before.send(orders, { n })
      // Closes the segment that the message is in, and frees none.
      if (n < 4) await sql.query(`SELECT ${schema}.transport_rotate(1, 0, 3600000)`)
    }
    await until('all are handled', () => handled.length === 4)
    await before.close()
    const { rowCount } = await sql.query(
      `UPDATE ${schema}.transport_segment SET closed_at = ${LATER} WHERE closed_at IS NOT NULL`,
    )
    expect(rowCount).toBe(3)
    await sql.query(`UPDATE ${schema}.transport_ring SET since = ${LATER}`)
    const after = await start({ segmentMs: 1, retentionMs: 0 })
    await until('the closed segments are freed, and then the last one', async () => {
      const { rows } = await sql.query<{ empty: number }>(
        `SELECT count(*)::int AS empty FROM ${schema}.transport_segment, ${schema}.transport_ring WHERE is_empty AND current <> 3`,
      )
      return rows[0]?.empty === 3
    })
    await after.close()
  })
})
