/**
 * Signals for sagas whose version the receiving instance has not loaded: a rolling deploy, and one that is rolled back.
 */
import { createBinder, defineChannel, type Middleware, timeout } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import type { Saga } from 'concordat/saga'
import { defineSaga } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { until } from '../../support/until.ts'
import { worlds } from '../support/running-world.ts'
import type { World } from '../support/world.ts'

const within = { timeoutMs: 10_000 }
const Input = z.object({})
const none = { invoke: () => {}, compensate: 'none' } as const
const create = worlds()
const closing: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of closing.splice(0).reverse()) await each.close()
})

/** The release before has no field `ref`, so that its schema drops it. */
const before = defineChannel('payments', { payload: z.object({ order: z.string().optional() }) })
const after = defineChannel('payments', {
  payload: z.object({ order: z.string().optional(), ref: z.string().optional(), at: z.coerce.date().optional() }),
})
const refunds = defineChannel('refunds', { payload: z.object({ order: z.string() }) })

const one = defineSaga('rent', { version: 1, input: Input })
  .signal('paid', { from: before, correlate: ({ order }) => order })
  .step('bill', none)
const second = () => defineSaga('rent', { version: 2, input: Input })
const versions = {
  'the same step': second().signal('paid', { from: after, correlate: ({ order }) => order }),
  'a step of another name': second().signal('payment', { from: after, correlate: ({ order }) => order }),
  'the id in another field': second().signal('paid', { from: after, correlate: ({ ref }) => ref }),
  'the id made of a date': second().signal('paid', {
    from: after,
    correlate: ({ at, ref }) => at && `${ref}${at.getTime()}`,
  }),
} as const satisfies Record<string, Saga>
const byRef = versions['the id in another field']

interface Deploy {
  readonly world: World
  /** Coordinator of the release before. */
  readonly old: Coordinator
  readonly log: LogLines
  /** Sends a payment that an instance of the release before reads. Resolves when that has settled it. */
  readonly pay: (payment: { order?: string; ref?: string; at?: string }) => Promise<void>
  readonly deadLetters: () => number
  readonly left: () => Promise<number>
}

async function deploy(
  sagas: readonly Saga[],
  loaded: readonly Saga[] = [one],
  middleware: readonly Middleware[] = [],
): Promise<Deploy> {
  const log = new LogLines()
  const world = await create({ sagas, coordinator: { logger: log.logger, leaseMs: 300 } })
  const old = world.another({ sagas: loaded, logger: log.logger })
  const transport = () => memoryTransport({ broker })
  const broker = memoryBroker()
  const { bindings } = old
  const binder = createBinder({ service: 'orders', transport: transport(), bindings, middleware, sends: [] })
  const sender = createBinder({ service: 'shop', transport: transport(), sends: [after] })
  for (const each of [sender, binder]) await each.start()
  closing.push(old, sender, binder)
  const settled = (): number =>
    binder.bindings().reduce((sum, { handled, deadLettered }) => sum + handled + deadLettered, 0)
  return {
    world,
    old,
    log,
    pay: async (payment) => {
      const count = settled()
      await sender.send(after, payment)
      await until('it is settled', () => settled() > count)
    },
    deadLetters: () => binder.bindings().reduce((sum, { deadLettered }) => sum + deadLettered, 0),
    left: async () => {
      const { rows } = await world.sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM ${world.schema}.saga_message`,
      )
      return rows[0]?.n ?? 0
    },
  }
}

describe('a message that is read by an instance without the version of its saga', () => {
  test.each(Object.entries(versions))('is kept until an instance with it is there: %s', async (what, saga) => {
    const two: Saga = saga
    const { world, pay, left, deadLetters } = await deploy([two, one])
    const at = new Date('2026-11-01T00:00:00Z')
    const id = what === 'the id made of a date' ? `x${at.getTime()}` : 'x'
    await world.coordinator.start(two, { id, input: {} })
    await pay({ order: 'x', ref: 'x', at: at.toISOString() })
    await world.coordinator.run()
    expect((await world.coordinator.get(two, id).outcome(within)).status).toBe('completed')
    await until('nothing is left', async () => (await left()) === 0)
    expect(deadLetters()).toBe(0)
  })

  test('is kept also when the binder limits the time of its handlers', async () => {
    const { world, pay, left, deadLetters } = await deploy([byRef, one], [one], [timeout(30_000), timeout(60_000)])
    await world.coordinator.start(byRef, { id: 'x', input: {} })
    await pay({ ref: 'x' })
    expect([deadLetters(), await left()]).toEqual([0, 1])
  })

  test('still reaches the saga of a version that is loaded, and both when it is for both', async () => {
    const two = byRef
    const { world, old, pay } = await deploy([two, one])
    await world.coordinator.start(two, { id: 'new', input: {} })
    await old.run()
    await old.start(one, { id: 'old', input: {} })
    await pay({ order: 'old', ref: 'new' })
    expect((await old.get(one, 'old').outcome(within)).status).toBe('completed')
    await world.coordinator.run()
    expect((await world.coordinator.get(two, 'new').outcome(within)).status).toBe('completed')
  })

  test('is not kept for a version that has no open saga, or reads another channel', async () => {
    const two = byRef
    const three = defineSaga('rent', { version: 3, input: Input }) //
      .signal('paid', { from: refunds, correlate: ({ order }) => order })
    const { world, pay, left } = await deploy([three, two, one])
    await world.coordinator.start(three, { id: 'x', input: {} })
    await pay({ order: 'x', ref: 'x' })
    expect(await left()).toBe(0)
    await world.coordinator.run()
    await world.coordinator.cancel({ saga: 'rent', id: 'x' }, { by: 'test', reason: 'it was never told' })
    expect((await world.coordinator.get(three, 'x').outcome(within)).status).toBe('compensated')
  })

  test('is no signal for a step of the same name that reads another channel', async () => {
    const three = defineSaga('rent', { version: 3, input: Input }) //
      .signal('paid', { from: refunds, correlate: ({ order }) => order })
    const { old, pay, world } = await deploy([three, one], [three, one])
    await old.run()
    await old.start(three, { id: 'x', input: {} })
    await pay({ order: 'x' })
    expect((await world.coordinator.report({ saga: 'rent', id: 'x' })).status).toBe('running')
  })

  test('stays in its table, for an operator, when it cannot be applied', async () => {
    const two = second().signal('paid', { from: after, correlate: ({ ref }) => ref, missing: 'dead-letter' })
    const { world, log, pay, left } = await deploy([two, one])
    await world.coordinator.start(two, { id: 'x', input: {} })
    await pay({ ref: 'nobody' })
    await world.sql.query(`UPDATE ${world.schema}.saga_message SET attempts = 12`)
    await world.coordinator.run()
    await until('it is told', () => log.text.includes('stays in saga_message'))
    expect(await left()).toBe(1)
    await world.coordinator.start(two, { id: 'nobody', input: {} })
    await world.sql.query(`UPDATE ${world.schema}.saga_message SET attempts = 0, due_at = now()`)
    expect((await world.coordinator.get(two, 'nobody').outcome(within)).status).toBe('completed')
  })
})

test.each([
  ['left', `left_at = left_at + interval '1 hour', due_at = due_at + interval '1 hour'`],
  ['taken by an instance that is gone', `attempts = 1, due_at = clock_timestamp() + interval '1 hour', lease_ms = 200`],
])(
  'a message that was %s before the server’s clock was set back is late by no more than a lease',
  async (_, moments) => {
    const { world, pay } = await deploy([byRef, one])
    await world.coordinator.start(byRef, { id: 'x', input: {} })
    await pay({ ref: 'x' })
    await world.sql.query(`UPDATE ${world.schema}.saga_message SET ${moments}`)
    await world.coordinator.run()
    expect((await world.coordinator.get(byRef, 'x').outcome(within)).status).toBe('completed')
  },
)

test('a message that another instance has taken for a longer lease is left to it', async () => {
  const { world, pay, left } = await deploy([byRef, one])
  await world.coordinator.start(byRef, { id: 'x', input: {} })
  await pay({ ref: 'x' })
  await world.sql.query(
    `UPDATE ${world.schema}.saga_message SET attempts = 1, due_at = now() + interval '1 minute', lease_ms = 60000`,
  )
  await world.coordinator.run()
  await world.coordinator.start(byRef, { id: 'y', input: {} })
  await pay({ ref: 'y' })
  expect((await world.coordinator.get(byRef, 'y').outcome(within)).status).toBe('completed')
  expect(await left()).toBe(1)
})

describe('messages that were left for a version whose sagas have all ended', () => {
  const age = (world: World, hours: number) =>
    world.sql.query(`UPDATE ${world.schema}.saga_message SET left_at = left_at - ${hours} * interval '1 hour'`)

  test('are named by the health of an instance without that version, and deleted by it', async () => {
    const two = byRef
    const { world, old, pay, left } = await deploy([two, one])
    await world.coordinator.start(two, { id: 'x', input: {} })
    await pay({ order: 'y', ref: 'y' })
    await age(world, 2)
    await old.run()
    await until('it is counted', () => old.health().leftMessages?.length === 1)
    expect(old.health()).toMatchObject({
      status: 'up',
      leftMessages: [{ saga: 'rent', version: 2, count: 1, failed: 0 }],
    })
    expect(await left()).toBe(1)
    await world.sql.query(`UPDATE ${world.schema}.saga SET ended_at = now(), status = 'compensated' WHERE version = 2`)
    const next = world.another({ sagas: [one] })
    closing.push(next)
    await next.run()
    await until('it is deleted', async () => (await left()) === 0)
  })

  test('stay for an hour, since the saga that they are for may be started later, and for a week if they failed', async () => {
    const { world, old, pay, left, log } = await deploy([byRef, one])
    await world.coordinator.start(byRef, { id: 'x', input: {} })
    await pay({ order: 'y', ref: 'y' })
    await pay({ order: 'z', ref: 'z' })
    await world.sql.query(
      `UPDATE ${world.schema}.saga_message SET due_at = NULL, attempts = 13
       WHERE id = (SELECT min(id) FROM ${world.schema}.saga_message)`,
    )
    await world.sql.query(`UPDATE ${world.schema}.saga SET ended_at = now(), status = 'compensated' WHERE version = 2`)
    const look = async () => {
      const next = world.another({ sagas: [one], logger: log.logger })
      await next.run()
      await until('it has looked', () => (next.health().leftMessages?.length ?? 0) > 0)
      const { status, detail } = next.health()
      await next.close()
      return { left: await left(), status, detail }
    }
    expect((await look()).left).toBe(2)
    await age(world, 25)
    expect(await look()).toEqual({
      left: 1,
      status: 'degraded',
      detail: '1 message left for rent@2 not applied: see the log',
    })
    await old.close()
  })
})

describe('coordinator.signal for a saga whose version is not loaded', () => {
  const asked = defineSaga('asked', { version: 1, input: Input }).signal('answer', { payload: z.string() })
  const renamed = defineSaga('asked', { version: 2, input: Input }).signal('reply', { payload: z.string() })

  test('returns false when that version has no such step, and true when it has', async () => {
    const { world, old } = await deploy([renamed, asked], [asked])
    await world.coordinator.start(renamed, { id: 'two', input: {} })
    expect(await old.signal(asked, 'two', 'answer', 'yes')).toBe(false)
    const newer = world.another({ sagas: [renamed] })
    closing.push(newer)
    await world.coordinator.start(asked, { id: 'one', input: {} })
    expect(await newer.signal(renamed, 'one', 'reply', 'yes')).toBe(false)
    const third = defineSaga('asked', { version: 3, input: Input }).signal('reply', { payload: z.string() })
    const same = world.another({ sagas: [third] })
    closing.push(same)
    expect(await same.signal(third, 'two', 'reply', 'yes')).toBe(true)
    await world.coordinator.run()
    expect((await world.coordinator.get(renamed, 'two').outcome(within)).status).toBe('completed')
  })
})
