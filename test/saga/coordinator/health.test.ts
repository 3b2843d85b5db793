/** Health of a coordinator: every statement that it sends counts, and it notices steps that hang. */
import { type Clock, type SqlClient, systemClock } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { FaultySql, WORDS } from '../../support/sql-faults.ts'
import { gate, until } from '../../support/until.ts'
import { runningWorlds, worlds } from '../support/running-world.ts'
import { embedded, FAST } from '../support/world.ts'

const create = worlds()
const setup = runningWorlds(create)
const input = z.object({})
const plain = defineSaga('plain', { version: 1, input }).signal('go', { payload: z.string() })

describe('a statement of the coordinator that the database does not take makes health down, until one succeeds:', () => {
  test.each<[what: string, matches: RegExp, call: 'start' | 'list' | 'report']>([
    ['the write of a start', /saga_write/, 'start'],
    ['the read of a list', /ORDER BY created_at/, 'list'],
    ['the read of a report', /saga_event/, 'report'],
  ])('%s', async (_, matches, call) => {
    const faulty = new FaultySql(embedded(), '57P01', (text) => matches.test(text))
    const { coordinator } = await setup({ sagas: [plain], sql: faulty.sql })
    const run = await coordinator.start(plain, { id: 'first', input: {} })
    await until('it is up', () => coordinator.health().status === 'up')
    faulty.refuse(1)
    const calls = {
      start: () => coordinator.start(plain, { id: 'second', input: {} }),
      list: () => coordinator.list(),
      report: () => run.report(),
    }
    await expect(calls[call]()).rejects.toThrow(WORDS)
    expect(coordinator.health()).toMatchObject({ status: 'down', error: expect.stringContaining(WORDS) })
    await until('it is up again', () => coordinator.health().status === 'up', 10_000)
  })

  test('a transaction that does not begin', async () => {
    let isAway = false
    const inner = embedded()
    const sql: SqlClient = {
      ...inner,
      transaction: (work, limits) =>
        isAway
          ? Promise.reject(Object.assign(new Error('too many clients'), { code: '53300' }))
          : inner.transaction(work, limits),
    }
    const saga = defineSaga('inside', { version: 1, input }).step('write', {
      transactional: true,
      compensate: 'none',
      invoke: () => undefined,
    })
    const { coordinator } = await setup({ sagas: [saga], sql })
    isAway = true
    const run = await coordinator.start(saga, { id: 'a', input: {} })
    await until('it is seen', () => coordinator.health().error === 'too many clients')
    isAway = false
    expect((await run.outcome()).status).toBe('completed')
    await until('it is up again', () => coordinator.health().status === 'up', 10_000)
  })
})

test('another database that is down in a step does not affect the coordinator’s health', async () => {
  const seen: unknown[] = []
  const saga = defineSaga('abroad', { version: 1, input }).step('ask', {
    transactional: true,
    compensate: 'none',
    retry: { ...FAST, maxAttempts: 3 },
    invoke: () => {
      seen.push(world.coordinator.health().status)
      throw Object.assign(new Error('the database system is starting up'), { code: '57P03' })
    },
  })
  const world = await setup({ sagas: [saga] })
  const run = await world.coordinator.start(saga, { id: 'a', input: {} })
  expect((await run.outcome()).status).toBe('compensated')
  expect([...seen, world.coordinator.health().status]).toEqual(['up', 'up', 'up', 'up'])
})

test.each([true, false])(
  'a step whose function does not return shows in health until it does (transactional: %s)',
  async (transactional) => {
    const hanging = gate()
    const saga = defineSaga('hangs', { version: 1, input }).step('wait', {
      transactional,
      compensate: 'none',
      timeoutMs: 20,
      retry: { ...FAST, maxAttempts: 2 },
      invoke: () => hanging.opened,
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 'a', input: {} })
    expect(await run.outcome()).toMatchObject({ status: 'compensated', failure: { code: 'saga.step_timeout' } })
    expect(coordinator.health()).toMatchObject({
      status: 'degraded',
      detail: expect.stringContaining('hangs: 2 of invoke of step "wait" not returned, the oldest for'),
      slow: [{ saga: 'hangs', step: 'wait', operation: 'invoke', count: 2, runningForMs: expect.any(Number) }],
    })
    hanging.open()
    await until('it is up again', () => coordinator.health().status === 'up')
    expect(coordinator.health().slow).toEqual([])
  },
)

const UNCOUNTED = { open: undefined, stuck: undefined, unloaded: undefined, leftMessages: undefined }

test('open and stuck sagas, versions and left messages are unknown until they are counted, and again when the count is old', async () => {
  let shift = 0
  let isAway = false
  const faulty = new FaultySql(embedded(), '57P01', (text) => isAway && /saga/.test(text))
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + shift }
  const { coordinator, start } = await create({ sagas: [plain], sql: faulty.sql, coordinator: { clock } })
  await coordinator.start(plain, { id: 'a', input: {} })
  expect(coordinator.health()).toMatchObject(UNCOUNTED)
  await start()
  await until('it is counted', () => coordinator.health().open === 1)
  expect(coordinator.health()).toMatchObject({ stuck: 0, unloaded: [], leftMessages: [] })

  isAway = true
  faulty.refuse(Infinity)
  shift = 91_000
  expect(coordinator.health()).toMatchObject(UNCOUNTED)
  isAway = false
  faulty.refuse(0)
  await until('it is counted again', () => coordinator.health().open === 1, 10_000)
})
