/** Forward recovery before the pivot, and groups after it. */
import { defineSaga, Refusal } from 'concordat/saga'
import { explore } from 'concordat/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST } from '../support/world.ts'

const input = z.object({})
const within = { timeoutMs: 10_000 }
const retry = { ...FAST, maxAttempts: 2 }
const ann = { by: 'ann', reason: 'looked at it' }
const setup = runningWorlds()

/** A step, a forward-block step that fails while the test says so, and a step that may refuse. */
function order() {
  const calls: string[] = []
  const world = { fails: true, refuses: false }
  const saga = defineSaga('order', { version: 1, input })
    .step('open', { invoke: () => void calls.push('open'), compensate: () => void calls.push('undo open') })
    .forward((block) =>
      block.step('book', {
        retry,
        invoke: () => {
          calls.push('book')
          if (world.fails) throw new Error('not now')
        },
        compensate: () => void calls.push('undo book'),
      }),
    )
    .step('end', {
      invoke: () => {
        if (world.refuses) throw new Refusal('end.no', 'no')
      },
      compensate: 'none',
    })
  return { saga, calls, world }
}

test('a step of a forward block that has used up its attempts is parked, and an operator has it tried again', async () => {
  const { saga, calls, world } = order()
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { step: 'book', message: 'not now' } })
  world.fails = false
  await coordinator.retry(run, ann)
  expect((await run.outcome(within)).status).toBe('completed')
  expect(calls).toEqual(['open', 'book', 'book', 'book'])
})

test('an operator turns the saga back: the step is undone, since its effect is not known', async () => {
  const { saga, calls } = order()
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect((await run.outcome(within)).status).toBe('stuck')
  await coordinator.compensate(run, ann)
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { step: 'book' } })
  expect(calls).toEqual(['open', 'book', 'book', 'undo book', 'undo open'])
})

test('a step that goes forward only is undone when a later step turns the saga back', async () => {
  const { saga, calls, world } = order()
  Object.assign(world, { fails: false, refuses: true })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'end.no' } })
  expect(calls).toEqual(['open', 'book', 'undo book', 'undo open'])
})

test('a failing step that goes forward only is undone when the saga is cancelled', async () => {
  const [entered, leave] = [gate(), gate()]
  const calls: string[] = []
  const saga = defineSaga('cancelled', { version: 1, input }).forward((block) =>
    block.step('book', {
      retry: { ...retry, maxAttempts: 50 },
      invoke: async () => {
        entered.open()
        await leave.opened
        throw new Error('not now')
      },
      compensate: () => void calls.push('undo book'),
    }),
  )
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await entered.opened
  await coordinator.cancel(run, ann)
  leave.open()
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { code: 'saga.cancelled' } })
  expect(calls).toEqual(['undo book'])
})

test('steps of a group after the pivot run together; one that fails is parked and delays none of the others', async () => {
  const [a, b] = [gate(), gate()]
  const world = { fails: true }
  const saga = defineSaga('after', { version: 1, input })
    .step('pay', { pivot: true, invoke: () => {} })
    .parallel((group) =>
      group
        .step('mail', {
          invoke: async () => {
            a.open()
            await b.opened
            return 'mailed'
          },
        })
        .step('ship', {
          invoke: async () => {
            b.open()
            await a.opened
            return 'shipped'
          },
        })
        .step('bill', {
          retry,
          invoke: () => {
            if (world.fails) throw new Error('no paper')
            return 'billed'
          },
        }),
    )
    .step('end', { invoke: ({ results }) => [results.mail, results.ship, results.bill].join() })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({
    status: 'stuck',
    failure: { step: 'bill' },
    results: { mail: 'mailed', ship: 'shipped' },
  })
  world.fails = false
  await coordinator.retry(run, ann)
  expect((await run.outcome(within)).results.end).toBe('mailed,shipped,billed')
})

test('an operator settles the steps that are parked one after the other', async () => {
  const fails = (): never => {
    throw new Error('broken')
  }
  const saga = defineSaga('settled', { version: 1, input })
    .step('pay', { pivot: true, invoke: () => {} })
    .parallel((group) => group.step('a', { retry, invoke: fails }).step('b', { retry, invoke: fails }))
    .step('end', { invoke: ({ results }) => results })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect((await run.outcome(within)).status).toBe('stuck')
  await coordinator.skip(run, { ...ann, result: 'by hand' })
  expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { step: 'b' } })
  await coordinator.skip(run, { ...ann, result: 'by hand, too' })
  expect((await run.outcome(within)).results.end).toEqual({ a: 'by hand', b: 'by hand, too' })
})

test('a forward block has no bad end under any fault or pair of faults, and turns back only for permitted reasons', () => {
  const saga = defineSaga('explored', { version: 1, input })
    .forward((block) => block.step('a', { invoke: () => {}, compensate: () => {} }))
    .step('b', { invoke: () => {}, compensate: () => {} })
    .step('pivot', { pivot: true, transactional: true, invoke: () => {} })
    .parallel((group) => group.step('c', { invoke: () => {} }).step('d', { invoke: () => {} }))
  const explored = explore(saga, { faults: 2 })
  expect(explored.problems).toEqual([])
  for (const { faults, end } of explored.runs) {
    const onlyForward = faults.every(({ step }) => step === 'a' || step === 'c' || step === 'd')
    if (onlyForward) expect(['completed', 'stuck'], JSON.stringify(faults)).toContain(end)
  }
})
