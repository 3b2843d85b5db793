import { type Clock, type SqlClient, systemClock } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { gate, until } from '../../support/until.ts'
import { closeEmbedded, embedded, openEmbedded, setupWorld } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

const RENEWAL = /SET wait_ms = \$\d, due_at = clock_timestamp\(\)/

/** The database of this file. Renewals of leases get no answer from it before the gate opens. */
function withoutRenewals() {
  const hanging = gate()
  const sent = { renewals: 0 }
  const inner = embedded()
  const sql: SqlClient = {
    ...inner,
    query: async (text, parameters) => {
      if (RENEWAL.test(text)) {
        sent.renewals++
        await hanging.opened
      }
      return inner.query(text, parameters)
    },
  }
  return { hanging, sent, inner, sql }
}

test('a coordinator that closes while a renewal hangs ends its steps and hands its sagas over anyway', async () => {
  const { hanging, sent, inner, sql } = withoutRenewals()
  const signals: AbortSignal[] = []
  const saga = defineSaga('slow', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: async ({ signal }) => {
      signals.push(signal)
      if (signals.length === 1) await new Promise((_, reject) => signal.addEventListener('abort', reject))
    },
  })
  const world = await setupWorld({ sagas: [saga], sql, coordinator: { leaseMs: 3_000, drainTimeoutMs: 0 } })
  onTestFinished(world.close)
  await world.start()
  const run = await world.coordinator.start(saga, { id: 'x', input: {} })
  await until('a renewal hangs', () => sent.renewals > 0 && signals.length > 0)
  const other = world.another({ sql: inner })
  onTestFinished(() => other.close())
  await world.coordinator.close()
  expect(signals[0]?.aborted).toBe(true)
  const { rows } = await inner.query(`SELECT owner FROM ${world.schema}.saga WHERE id = 'x'`)
  expect(rows).toEqual([{ owner: null }])
  await other.run()
  expect((await other.get(saga, run.id).outcome({ timeoutMs: 20_000 })).status).toBe('completed')
  hanging.open()
})

test('a step is stopped, and its saga given up, when its lease ends while a renewal hangs', async () => {
  const { hanging, sent, sql } = withoutRenewals()
  const clock = new FakeClock()
  const signals: AbortSignal[] = []
  const saga = defineSaga('unrenewed', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    timeoutMs: 600_000,
    invoke: ({ signal }) => (signals.push(signal), hanging.opened),
  })
  const world = await setupWorld({ sagas: [saga], sql, coordinator: { leaseMs: 60_000, pollMs: 10_000, clock } })
  onTestFinished(world.close)
  onTestFinished(hanging.open)
  await world.start()
  await world.coordinator.start(saga, { id: 'x', input: {} })
  await until('the step runs', () => signals.length === 1)
  await clock.advance(20_000)
  expect([sent.renewals, signals[0]?.aborted]).toEqual([1, false])
  await clock.advance(40_000)
  expect(signals[0]?.reason).toMatchObject({ code: 'saga.ownership_lost' })
  expect(world.coordinator.health().inHand).toBe(0)
})

test('a coordinator with shorter leases does not shorten those of others', async () => {
  const calls: string[] = []
  const hanging = gate()
  const saga = defineSaga('long', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: async ({ sagaId }) => {
      calls.push(sagaId)
      if (sagaId === 'x') await hanging.opened
    },
  })
  const world = await setupWorld({ sagas: [saga], coordinator: { leaseMs: 60_000 } })
  onTestFinished(world.close)
  await world.start()
  const run = await world.coordinator.start(saga, { id: 'x', input: {} })
  await until('it is in hand', () => calls.length === 1)
  const left = async (): Promise<number> => {
    const { rows } = await world.sql.query<{ ms: number }>(
      `SELECT (extract(epoch FROM due_at - clock_timestamp()) * 1000)::float8 AS ms FROM ${world.schema}.saga WHERE id = 'x'`,
    )
    return rows[0]?.ms ?? 0
  }
  const other = world.another({ leaseMs: 1_000 })
  onTestFinished(() => other.close())
  await other.run()
  await (await other.start(saga, { id: 'y', input: {} })).outcome({ timeoutMs: 20_000 })
  expect(await left()).toBeGreaterThan(30_000)
  hanging.open()
  await run.outcome({ timeoutMs: 20_000 })
  expect(calls).toEqual(['x', 'y'])
})

test.each(['now', 'monotonic'] as const)(
  'a process that resumes after its lease (%s() went on) calls no step of a saga that another coordinator has ended',
  async (reading) => {
    const away = { ms: 0 }
    const clock: Clock = { ...systemClock, [reading]: () => systemClock[reading]() + away.ms }
    const [asleep, wokeUp] = [gate(), gate()]
    let falls = false
    // The input is read right before a step is called.
    const validate = async (value: unknown): Promise<{ value: object }> => {
      if (falls) {
        falls = false
        asleep.open()
        await wokeUp.opened
      }
      return { value: value as object }
    }
    const input = { '~standard': { version: 1, vendor: 'test', validate } } as const
    const calls: string[] = []
    const saga = defineSaga('suspended', { version: 1, input })
      .step('a', { compensate: 'none', invoke: () => void (falls = true) })
      .step('b', { compensate: 'none', invoke: ({ attempt }) => void calls.push(`b ${attempt}`) })
    const world = await setupWorld({ sagas: [saga], coordinator: { leaseMs: 60_000, drainTimeoutMs: 2_000, clock } })
    onTestFinished(world.close)
    await world.start()
    const run = await world.coordinator.start(saga, { id: 'x', input: {} })
    await asleep.opened
    await world.sql.query(`UPDATE ${world.schema}.saga SET due_at = clock_timestamp()`)
    const other = world.another({ clock: systemClock })
    onTestFinished(() => other.close())
    await other.run()
    expect((await other.get(saga, run.id).outcome({ timeoutMs: 20_000 })).status).toBe('completed')
    const before = [...calls]
    away.ms = 61_000
    wokeUp.open()
    await world.coordinator.close()
    expect(calls).toEqual(before)
  },
)

test('a process that resumes after its lease continues when no other coordinator took the saga, without another attempt', async () => {
  const away = { ms: 0 }
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + away.ms }
  const attempts: number[] = []
  const saga = defineSaga('woken', { version: 1, input: z.object({}) })
    .step('a', { compensate: 'none', invoke: () => void (away.ms = 61_000) })
    .step('b', { compensate: 'none', invoke: ({ attempt }) => void attempts.push(attempt) })
  const world = await setupWorld({ sagas: [saga], coordinator: { leaseMs: 60_000, clock } })
  onTestFinished(world.close)
  await world.start()
  const run = await world.coordinator.start(saga, { id: 'x', input: {} })
  expect((await run.outcome({ timeoutMs: 20_000 })).status).toBe('completed')
  expect(attempts).toEqual([1])
})

test('a wall clock that is set forward beyond a lease takes no saga out of the hands of a coordinator that can renew it', async () => {
  const away = { ms: 0 }
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + away.ms }
  const attempts: number[] = []
  const [called, goOn] = [gate(), gate()]
  const saga = defineSaga('jumped', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: async ({ attempt, signal }) => {
      attempts.push(attempt)
      called.open()
      await goOn.opened
      signal.throwIfAborted()
    },
  })
  const world = await setupWorld({ sagas: [saga], coordinator: { leaseMs: 1_500, clock } })
  onTestFinished(world.close)
  await world.start()
  const run = await world.coordinator.start(saga, { id: 'x', input: {} })
  await called.opened
  away.ms = 25_000
  // Two beats of the lease.
  await clock.sleep(1_200)
  goOn.open()
  expect((await run.outcome({ timeoutMs: 20_000 })).status).toBe('completed')
  expect(attempts).toEqual([1])
})

test('a coordinator that takes its own saga again, because the clock of the server went on, stops the call under the former lease', async () => {
  const goOn = gate()
  const signals: AbortSignal[] = []
  const saga = defineSaga('retaken', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: async ({ signal }) => {
      signals.push(signal)
      await goOn.opened
    },
  })
  const world = await setupWorld({ sagas: [saga], coordinator: { leaseMs: 1_500 } })
  onTestFinished(world.close)
  onTestFinished(goOn.open)
  await world.start()
  await world.coordinator.start(saga, { id: 'x', input: {} })
  await until('the step runs', () => signals.length === 1)
  await world.sql.query(`UPDATE ${world.schema}.saga SET due_at = clock_timestamp()`)
  await until('the step runs again', () => signals.length === 2)
  await until('the first call is stopped', () => signals[0]?.aborted === true)
  expect(signals[0]?.reason).toMatchObject({ code: 'saga.ownership_lost' })
  expect(signals[1]?.aborted).toBe(false)
})

test('a coordinator whose plan for a due saga took most of the lease and has to be made again renews the lease before it calls a step', async () => {
  const away = { ms: 0 }
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + away.ms }
  const [planning, planned] = [gate(), gate()]
  const asks = async (value: unknown): Promise<{ value: object }> => {
    planning.open()
    await planned.opened
    return { value: value as object }
  }
  const seen: string[] = []
  const define = (validate: (value: unknown) => Promise<{ value: object }> | { value: object }) =>
    defineSaga('late', { version: 1, input: { '~standard': { version: 1, vendor: 'test', validate } } }).when(
      () => true,
      (block) => block.step('a', { compensate: 'none', invoke: () => void seen.push('called') }),
    )
  const inner = embedded()
  const sql: SqlClient = {
    ...inner,
    query: (text, parameters) => {
      if (RENEWAL.test(text)) seen.push('renewed')
      return inner.query(text, parameters)
    },
  }
  const world = await setupWorld({ sagas: [define(asks)], sql, coordinator: { leaseMs: 60_000, clock } })
  onTestFinished(world.close)
  await world.start()
  const plain = define((value) => ({ value: value as object }))
  const other = world.another({ sagas: [plain] })
  onTestFinished(() => other.close())
  const run = await other.start(plain, { id: 'x', input: {} })
  await planning.opened
  // Like a message for the saga.
  await inner.query(`UPDATE ${world.schema}.saga SET revision = revision + 7`)
  away.ms = 50_000
  planned.open()
  expect((await run.outcome({ timeoutMs: 20_000 })).status).toBe('completed')
  expect(seen).toEqual(['renewed', 'called'])
})

test('a coordinator that closes while a due saga hangs in its schema ends its other steps and hands their sagas over', async () => {
  const planning = gate()
  const hangs = (): Promise<never> => (planning.open(), new Promise<never>(() => {}))
  const define = (validate: (value: unknown) => Promise<never> | { value: object }) =>
    defineSaga('hanging', { version: 1, input: { '~standard': { version: 1, vendor: 'test', validate } } }).when(
      () => true,
      (block) => block.step('a', { compensate: 'none', invoke: () => {} }),
    )
  const signals: AbortSignal[] = []
  const long = defineSaga('long', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: ({ signal }) => (signals.push(signal), new Promise(() => {})),
  })
  const coordinator = { leaseMs: 60_000, drainTimeoutMs: 50 }
  const world = await setupWorld({ sagas: [define(hangs), long], coordinator })
  onTestFinished(world.close)
  await world.start()
  await world.coordinator.start(long, { id: 'x', input: {} })
  const plain = define((value) => ({ value: value as object }))
  const other = world.another({ sagas: [plain] })
  onTestFinished(() => other.close())
  await other.start(plain, { id: 'h', input: {} })
  await planning.opened
  await until('the step runs', () => signals.length === 1)
  await world.coordinator.close()
  expect(signals[0]?.aborted).toBe(true)
  const { rows } = await world.sql.query(`SELECT owner FROM ${world.schema}.saga WHERE id = 'x'`)
  expect(rows).toEqual([{ owner: null }])
})

test('a coordinator that closes hands over a due saga that is written after the drain, before it is closed', async () => {
  const [writing, drained] = [gate(), gate()]
  const calls: string[] = []
  const due = defineSaga('due', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: () => void calls.push('due'),
  })
  const long = defineSaga('long', { version: 1, input: z.object({}) }).step('a', {
    compensate: 'none',
    invoke: async ({ signal }) => {
      calls.push('long')
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      drained.open()
    },
  })
  const inner = embedded()
  const written = { begun: 0, ended: 0 }
  const sql: SqlClient = {
    ...inner,
    query: async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
      if (!text.includes('saga_write(') || !JSON.stringify(parameters).includes('due'))
        return inner.query<Row>(text, parameters)
      written.begun++
      writing.open()
      await drained.opened
      await systemClock.sleep(20)
      return inner.query<Row>(text, parameters).finally(() => void written.ended++)
    },
  }
  const world = await setupWorld({ sagas: [due, long], sql, coordinator: { leaseMs: 60_000, drainTimeoutMs: 0 } })
  onTestFinished(world.close)
  await world.start()
  await world.coordinator.start(long, { id: 'x', input: {} })
  await until('the step runs', () => calls.length === 1)
  const other = world.another({ sql: inner })
  onTestFinished(() => other.close())
  await other.start(due, { id: 'y', input: {} })
  await writing.opened
  await world.coordinator.close()
  const { rows } = await inner.query(`SELECT owner FROM ${world.schema}.saga`)
  expect([rows, written, calls]).toEqual([[{ owner: null }, { owner: null }], { begun: 2, ended: 2 }, ['long']])
})
