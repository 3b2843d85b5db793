import { defineSaga, Refusal, type Saga } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { FAST } from '../support/world.ts'

const setup = runningWorlds()
class BankClosed extends Error {}
class NoPaper extends Error {}
const DAY = 24 * 60 * 60 * 1_000

test('a saga that is stuck is reported and listed with the step that an operator has to see to', async () => {
  const told: unknown[] = []
  const saga = defineSaga('booking', { version: 1, input: z.object({}) })
    .step('charge', {
      invoke: () => undefined,
      compensate: () => {
        throw new BankClosed('the bank refuses refunds')
      },
      compensationRetry: { maxAttempts: 1, ...FAST },
    })
    .step('confirm', {
      invoke: () => {
        throw new Refusal('booking.blocked', 'the guest is on the list')
      },
      compensate: 'none',
    })
  const world = await setup({ sagas: [saga], coordinator: { onStuck: ({ failure }) => void told.push(failure) } })
  const run = await world.coordinator.start(saga, { id: '1', input: {} })
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('stuck')
  const failure = { step: 'charge', code: 'BankClosed', message: 'the bank refuses refunds' }
  await expect.poll(() => told).toEqual([failure])
  expect(await world.coordinator.list({ code: 'BankClosed' })).toMatchObject([{ id: '1', status: 'stuck', failure }])
  expect(await world.coordinator.list({ code: 'booking.blocked' })).toEqual([])
})

describe('a step that failed after the pivot makes its saga stuck although another of its group waits for', () => {
  const within = { timeoutMs: 10_000 }
  const note = { by: 'ann', reason: 'filled in paper' }
  const later = defineSaga('later', { version: 1, input: z.object({}) }).signal('go', { payload: z.string() })
  const paid = defineSaga('pickup', { version: 1, input: z.object({}) }).step('pay', {
    pivot: true,
    transactional: true,
    invoke: () => undefined,
  })
  let hasPaper = false
  const print = {
    retry: { maxAttempts: 1 },
    invoke: () => {
      if (!hasPaper) throw new NoPaper('no paper')
      return 'label'
    },
  }
  const sagas = {
    'a signal': paid.parallel((group) => group.signal('wait', { payload: z.string() }).step('print', print)),
    'a time': paid.parallel((group) => group.timer('wait', { delay: DAY }).step('print', print)),
    'another saga': paid.parallel((group) =>
      group.saga('wait', { saga: later, input: () => ({}) }).step('print', print),
    ),
  }

  test.each(Object.entries<Saga>(sagas))('%s', async (_, saga) => {
    hasPaper = false
    const told: unknown[] = []
    const { coordinator } = await setup({ sagas: [saga], coordinator: { onStuck: (each) => void told.push(each) } })
    const run = await coordinator.start(saga, { id: '1', input: {} })
    expect((await run.outcome(within)).status).toBe('stuck')
    // An outcome may be read before `onStuck` is called.
    await expect
      .poll(() => told)
      .toMatchObject([{ saga: 'pickup', id: '1', failure: { step: 'print', code: 'NoPaper' } }])
    hasPaper = true
    await coordinator.retry(run, note)
    await expect
      .poll(async () => (await run.report()).steps.map(({ status }) => status), { timeout: 10_000 })
      .toEqual(['invoked', 'invoking', 'invoked'])
    expect((await run.report()).status).toBe('running')
  })

  test('a signal, which is taken meanwhile, and the failed step is skipped after it', async () => {
    hasPaper = false
    const saga = sagas['a signal']
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: '1', input: {} })
    expect((await run.outcome(within)).status).toBe('stuck')
    expect(await coordinator.signal(saga, '1', 'wait', 'collected')).toBe(true)
    expect((await run.report()).status).toBe('stuck')
    await coordinator.skip(run, { ...note, result: 'by hand' })
    expect(await run.outcome(within)).toMatchObject({
      status: 'completed',
      results: { wait: 'collected', print: 'by hand' },
    })
  })

  test('a time, which goes on meanwhile', async () => {
    hasPaper = false
    const saga = paid.parallel((group) => group.timer('wait', { delay: 300 }).step('print', print))
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: '1', input: {} })
    expect((await run.outcome(within)).status).toBe('stuck')
    hasPaper = true
    await coordinator.retry(run, note)
    expect((await run.outcome(within)).status).toBe('completed')
  })
})
