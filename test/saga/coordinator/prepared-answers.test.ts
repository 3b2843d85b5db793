// oxlint-disable no-restricted-imports -- tests what users do not import
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { StepKind } from '../../../saga/definition/kinds/kind.ts'
import { runningWorlds } from '../support/running-world.ts'

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
