// oxlint-disable no-restricted-imports -- tests what users do not import
import { defineSaga } from 'concordat/saga'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { StepKind } from '../../../saga/definition/kinds/kind.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const within = { timeoutMs: 10_000 }

/** A saga whose second step is answered by `prepare` itself, as kinds of other packages may do. */
function sagaAnsweredWith(result: unknown) {
  const saga = defineSaga('answered', { version: 1, input: z.object({}) })
    .step('first', { invoke: () => 1, compensate: () => {} })
    .step('answered', { invoke: () => 2, compensate: 'none' })
  const answers = (kind: StepKind): StepKind => ({
    ...kind,
    prepare: ({ name }) => ({ type: 'succeeded', step: name, operation: 'invoke', result }),
  })
  const steps = saga.steps.map((step) => {
    return step.name === 'answered' ? { ...step, kind: answers(step.kind as StepKind) } : step
  })
  return Object.freeze({ ...saga, steps: Object.freeze(steps) }) as typeof saga
}

test('an answer of prepare is the result of its step', async () => {
  const saga = sagaAnsweredWith({ at: 'once' })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({
    status: 'completed',
    results: { first: 1, answered: { at: 'once' } },
  })
})

test.for([
  ['a text with NUL', 'nul \0'],
  ['a bigint', 1n],
  ['more than the limit', 'x'.repeat(2_000_000)],
] as const)('an answer of prepare that cannot be stored refuses its own step: %s', async ([, result]) => {
  const saga = sagaAnsweredWith(result)
  const { coordinator, events } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { step: 'answered' } })
  expect(await events('answered', 'x')).toContain('refused answered')
})

test('a command whose request throws when it is sent again is undone: the first one may have been done', async () => {
  const define = (request: () => { sku: string; n: number }) =>
    defineSaga('resent', { version: 1, input: z.object({}) }).command('reserve', {
      to: stockCommands,
      compensate: true,
      compensationRetry: FAST,
      request,
    })
  const command = { sku: 'apple', n: 1 }
  const saga = define(() => command)
  const done: string[] = []
  const handlers = { invoke: () => void done.push('reserved'), compensate: () => void done.push('undone') }
  const { coordinator, another, stock } = await setup({ sagas: [saga], handlers })
  stock().pause()
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  let asked = 0
  const changed = define(() => {
    if (++asked === 1) throw new Error('the new release cannot make it')
    return command
  })
  const next = another({ sagas: [changed] })
  onTestFinished(() => next.close())
  await next.run({ resend: true })
  stock().resume()
  expect(await run.outcome(within)).toMatchObject({ status: 'compensated', failure: { step: 'reserve' } })
  expect(done).toEqual(['reserved', 'undone'])
})
