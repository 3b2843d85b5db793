/** A compensated sub-saga that an operator retries: a new run of it, in each place where one can be. */
import { defineSaga, Refusal, type SagaRun } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'

const Nothing = z.object({})
const Item = z.object({ item: z.number() })
const within = { timeoutMs: 10_000 }
const note = { by: 'ann', reason: 'the shelf is full again' }
const setup = runningWorlds()

/** A child that reserves from a shelf, and returns its reservations. */
function shelf<Input extends z.ZodType>(input: Input) {
  const stock = { left: 0 }
  const effects: string[] = []
  const child = defineSaga('ship', { version: 1, input }).step('reserve', {
    invoke: ({ sagaId }) => {
      if (stock.left === 0) throw new Refusal('shelf.empty', 'the shelf is empty')
      stock.left--
      effects.push(`reserved by ${sagaId}`)
      return stock.left
    },
    compensate: ({ sagaId }) => void effects.push(`given back by ${sagaId}`),
  })
  return { stock, effects, child }
}

async function stuckOnce(run: SagaRun<object>): Promise<void> {
  expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { code: 'shelf.empty' } })
}

const runsOf = async (coordinator: Coordinator): Promise<readonly string[]> =>
  (await coordinator.list({ saga: 'ship' })).map(({ id, status }) => `${id} ${status}`).toSorted()

test('a sub-saga after the pivot runs anew, under an id of its own, each time that an operator has it tried again', async () => {
  const { stock, effects, child } = shelf(Nothing)
  const saga = defineSaga('order', { version: 1, input: Nothing })
    .step('pay', { invoke: () => undefined, pivot: true })
    .saga('ship', { saga: child, input: () => ({}) })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await stuckOnce(run)
  await coordinator.retry(run, note)
  await stuckOnce(run)
  stock.left = 3
  await coordinator.retry(run, note)
  expect(await run.outcome(within)).toMatchObject({ status: 'completed', results: { ship: { reserve: 2 } } })
  expect(effects).toEqual(['reserved by order/x/ship#2'])
  expect(await runsOf(coordinator)).toEqual([
    'order/x/ship compensated',
    'order/x/ship#1 compensated',
    'order/x/ship#2 completed',
  ])
  expect(await coordinator.purge({ olderThanMs: 0 })).toBe(4)
})

test('the run that completed is undone when the saga turns back later, and no earlier one', async () => {
  const { stock, effects, child } = shelf(Nothing)
  const saga = defineSaga('order', { version: 1, input: Nothing })
    .forward((block) => block.saga('ship', { saga: child, input: () => ({}), compensate: true }))
    .signal('go', { payload: z.unknown() })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await stuckOnce(run)
  stock.left = 1
  await coordinator.retry(run, note)
  await expect.poll(async () => (await run.report()).steps[0]?.status, { timeout: 10_000 }).toBe('invoked')
  await coordinator.cancel(run, note)
  expect((await run.outcome(within)).status).toBe('compensated')
  expect(effects).toEqual(['reserved by order/x/ship#1', 'given back by order/x/ship#1'])
  expect(await runsOf(coordinator)).toEqual(['order/x/ship compensated', 'order/x/ship#1 compensated'])
})

test('a saga that turns back instead of retrying has nothing of the sub-saga to undo', async () => {
  const { effects, child } = shelf(Nothing)
  const saga = defineSaga('order', { version: 1, input: Nothing }).forward((block) =>
    block.saga('ship', { saga: child, input: () => ({}), compensate: true }),
  )
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await stuckOnce(run)
  await coordinator.retry(run, note)
  await stuckOnce(run)
  await coordinator.compensate(run, note)
  expect((await run.outcome(within)).status).toBe('compensated')
  expect(effects).toEqual([])
})

test('only the compensated items of a list run anew', async () => {
  const { stock, effects, child } = shelf(Item)
  const saga = defineSaga('order', { version: 1, input: Nothing })
    .step('pay', { invoke: () => undefined, pivot: true })
    .each('ship', { over: () => [1, 2, 3], saga: child, input: ({ item }) => ({ item }) })
  stock.left = 1
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await stuckOnce(run)
  stock.left = 2
  await coordinator.retry(run, note)
  expect((await run.outcome(within)).status).toBe('completed')
  expect(effects).toEqual([
    'reserved by order/x/ship[0]',
    'reserved by order/x/ship[1]#1',
    'reserved by order/x/ship[2]',
  ])
})

test('an id that another saga has is no obstacle to the run of the next try', async () => {
  const { stock, effects, child } = shelf(Nothing)
  const saga = defineSaga('order', { version: 1, input: Nothing })
    .step('pay', { invoke: () => undefined, pivot: true })
    .saga('ship', { saga: child, input: () => ({}) })
  stock.left = 2
  const { coordinator } = await setup({ sagas: [saga, child] })
  await (await coordinator.start(child, { id: 'order/x/ship', input: {} })).outcome(within)
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({ status: 'stuck', failure: { code: 'saga.conflict' } })
  await coordinator.retry(run, note)
  expect((await run.outcome(within)).status).toBe('completed')
  expect(effects).toEqual(['reserved by order/x/ship', 'reserved by order/x/ship#1'])
})
