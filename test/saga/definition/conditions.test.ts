import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands } from '../support/world.ts'

const Input = z.object({ cents: z.number(), fails: z.boolean().optional() })
const within = { timeoutMs: 10_000 }
const setup = runningWorlds()

/** Orders over 100 need an approval, their stock is taken and a note is written. */
function purchase() {
  const calls: string[] = []
  const saga = defineSaga('purchase', { version: 1, input: Input })
    .step('open', { invoke: () => 'opened', compensate: () => void calls.push('close') })
    .when(
      ({ input, results }) => input.cents > 100 && results.open === 'opened',
      (large) =>
        large
          .signal('approval', { payload: z.string() })
          .command('stock', { to: stockCommands, request: () => ({ sku: 's', n: 1 }), compensate: true })
          .when(
            ({ results }) => results.approval === 'with note',
            (noted) =>
              noted.step('note', { invoke: () => calls.push('note'), compensate: () => void calls.push('tear up') }),
          ),
    )
    .step('end', {
      invoke: ({ input, results }) => {
        if (input.fails === true) throw Object.assign(new Error('no'), { retryable: false })
        return results.approval ?? 'none needed'
      },
      compensate: 'none',
    })
  const stock: string[] = []
  const handlers = { invoke: () => void stock.push('take'), compensate: () => void stock.push('give back') }
  return { saga, calls, stock, handlers }
}

test('steps whose condition does not hold are left out, and have no result', async () => {
  const { saga, calls, stock, handlers } = purchase()
  const { coordinator, events } = await setup({ sagas: [saga], handlers })
  const run = await coordinator.start(saga, { id: 'small', input: { cents: 5 } })
  expect(await run.outcome(within)).toMatchObject({
    status: 'completed',
    results: { open: 'opened', end: 'none needed' },
  })
  expect(await events('purchase', 'small')).toEqual(
    expect.arrayContaining(['omitted approval', 'omitted stock', 'omitted note']),
  )
  expect([calls, stock]).toEqual([[], []])
})

test('inner conditions hold only with the outer ones', async () => {
  const { saga, calls, stock, handlers } = purchase()
  const { coordinator } = await setup({ sagas: [saga], handlers })
  for (const [id, approval] of [
    ['x', 'plain'],
    ['y', 'with note'],
  ] as const) {
    const run = await coordinator.start(saga, { id, input: { cents: 500 } })
    await coordinator.signal(saga, id, 'approval', approval)
    expect((await run.outcome(within)).results).toMatchObject({ end: approval })
  }
  expect([calls, stock]).toEqual([['note'], ['take', 'take']])
})

test('on the way back only executed steps are undone', async () => {
  const { saga, calls, stock, handlers } = purchase()
  const { coordinator } = await setup({ sagas: [saga], handlers })
  const small = await coordinator.start(saga, { id: 'small', input: { cents: 5, fails: true } })
  expect((await small.outcome(within)).status).toBe('compensated')
  expect([calls, stock]).toEqual([['close'], []])
  const large = await coordinator.start(saga, { id: 'large', input: { cents: 500, fails: true } })
  await coordinator.signal(saga, 'large', 'approval', 'with note')
  expect((await large.outcome(within)).status).toBe('compensated')
  expect([calls, stock]).toEqual([
    ['close', 'note', 'tear up', 'close'],
    ['take', 'give back'],
  ])
})

test('a condition that throws, or gives a promise, turns the saga back before the step', async () => {
  const calls: string[] = []
  const bad = (name: string, condition: () => never) =>
    defineSaga(name, { version: 1, input: Input })
      .step('a', { invoke: () => 1, compensate: () => void calls.push(`undo ${name}`) })
      .when(condition, (saga) => saga.step('b', { invoke: () => void calls.push('b'), compensate: 'none' }))
  const throws = bad('throws', () => {
    throw new Error('oops')
  })
  const promises = bad('promises', () => Promise.resolve(true) as never)
  const { coordinator } = await setup({ sagas: [throws, promises] })
  for (const [saga, message] of [
    [throws, 'oops'],
    [promises, 'when(...) of step "b": expected true or false, not a promise, got {}'],
  ] as const) {
    const run = await coordinator.start(saga, { id: 'x', input: { cents: 1 } })
    expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { step: 'b', message } })
  }
  expect(calls).toEqual(['undo throws', 'undo promises'])
})

test('a signal may be awaited for months, and its time limit is stored', async () => {
  const days = 90 * 24 * 60 * 60_000
  const saga = defineSaga('lease', { version: 1, input: Input })
    .signal('signed', { payload: z.string(), timeoutMs: days })
    .step('file', { invoke: ({ results }) => results.signed, compensate: 'none' })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'l-1', input: { cents: 1 } })
  await coordinator.signal(saga, 'l-1', 'signed', 'ann')
  expect((await run.outcome(within)).results).toMatchObject({ file: 'ann' })
})
