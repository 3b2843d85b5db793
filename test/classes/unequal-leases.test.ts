/**
 * Two releases run side by side, and the newer one has a shorter lease. It must not shorten a lease of the older one, whose
 * process relies on the duration that it requested. Each part whose lease is a row of a shared table is a case.
 */
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const LONG_MS = 600_000
const SHORT_MS = 1_000
const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload, groups: ['g'], partitions: 4 })

describe('a process with a short lease beside one with a long lease', () => {
  const database = freshPglite()
  // Without `exclusive` it is a client that other processes may share.
  const { exclusive: _, ...sql } = pgliteClient(database)
  beforeAll(() => database.waitReady, 180_000)
  afterAll(() => database.close())

  const leftMs = async (column: string, table: string, which = 'true'): Promise<number> => {
    const { rows } = await sql.query<{ ms: number }>(
      `SELECT (extract(epoch FROM max(${column}) - clock_timestamp()) * 1000)::float8 AS ms FROM concordat.${table} WHERE ${which}`,
    )
    return rows[0]?.ms ?? 0
  }

  test('leaves the partitions of the outbox to the relay that has them', async () => {
    const outbox = createOutbox({ sql, service: 'late', partitions: 2 })
    await outbox.migrate()
    const binder = createBinder({ service: 'late', transport: memoryTransport(), logger: silentLogger })
    const relays = [LONG_MS, SHORT_MS].map((leaseMs) =>
      createRelay({ outbox, publisher: binder, leaseMs, logger: silentLogger }),
    )
    onTestFinished(async () => void (await Promise.all(relays.map((relay) => relay.close()))))
    for (const relay of relays) await relay.start()
    await until('both have one', () => relays.every((relay) => relay.health().partitions.length === 1))
    expect(await leftMs('lease_until', 'outbox_lease')).toBeGreaterThan(LONG_MS / 2)
    expect(await leftMs('live_until', 'outbox_relay')).toBeGreaterThan(LONG_MS / 2)
  })

  test('leaves the partitions of a channel on PostgreSQL to the member that has them', async () => {
    const start = async (leaseMs: number) => {
      const binder = createBinder({
        service: 'late',
        transport: postgresTransport({ sql, leaseMs, pollMs: 50 }),
        bindings: [sink(orders, { group: 'g' }, () => {})],
        logger: silentLogger,
      })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready()
    }
    await start(LONG_MS)
    await start(SHORT_MS)
    await until('both have some', async () => {
      const { rows } = await sql.query(
        `SELECT DISTINCT ON (part) owner FROM concordat.transport_progress WHERE owner IS NOT NULL ORDER BY part, ver DESC`,
      )
      return new Set(rows.map(({ owner }) => owner)).size === 2
    })
    expect(await leftMs('live_until', 'transport_session')).toBeGreaterThan(LONG_MS / 2)
  })

  test('leaves a lock to its holder', async () => {
    const locks = postgresLocks({ sql, owner: 'a', logger: silentLogger })
    const others = postgresLocks({ sql, owner: 'b', logger: silentLogger })
    onTestFinished(() => locks.close())
    onTestFinished(() => others.close())
    await locks.migrate()
    await locks.acquire('k', { ttlMs: LONG_MS })
    expect(await others.tryAcquire('k', { ttlMs: SHORT_MS })).toBeUndefined()
    expect(await leftMs(`to_timestamp(frees_us / 1e6)`, 'lock_key')).toBeGreaterThan(LONG_MS / 2)
  })

  test('leaves a saga to the coordinator that calls its step', async () => {
    const step = gate()
    let isCalled = false
    const saga = defineSaga('slow', { version: 1, input: Payload }).step('one', {
      invoke: () => {
        isCalled = true
        return step.opened
      },
      compensate: 'none',
    })
    const outbox = createOutbox({ sql, service: 'late', partitions: 2 })
    const create = (leaseMs: number) =>
      createCoordinator({ service: 'late', sql, outbox, sagas: [saga], leaseMs, logger: silentLogger })
    const [first, second] = [create(LONG_MS), create(SHORT_MS)]
    await outbox.migrate()
    await first.migrate()
    onTestFinished(async () => {
      step.open()
      await Promise.all([first.close(), second.close()])
    })
    await first.run()
    await first.start(saga, { id: 's', input: { n: 1 } })
    await until('the step is called', () => isCalled)
    await second.run()
    await second.start(saga, { id: 't', input: { n: 2 } })
    expect(await leftMs('due_at', 'saga', `id = 's'`)).toBeGreaterThan(LONG_MS / 2)
  })
})
