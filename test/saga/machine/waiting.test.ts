import type { SagaState } from 'concordat/saga'
import { expect, test } from 'vitest'
import { advance, initialState, type SagaEvent, type Transition } from '../../support/inside/saga.ts'
import { policy, shape, stepShape } from '../support/shape.ts'

const error = { code: 'x', message: 'x' }
const turnedBack: readonly SagaEvent[] = [
  { type: 'started' },
  { type: 'succeeded', step: 'a', operation: 'invoke' },
  { type: 'refused', step: 'b', operation: 'invoke', error },
]

/** Answers the cancellation of `a` five times that another process still works on it. */
function afterFive(patient: true | undefined): SagaState {
  const s = shape(stepShape('a', { remote: true, compensate: { ...policy(3), patient } }), stepShape('b'))
  const again = [1, 2, 3, 4, 5].flatMap((attempt): SagaEvent[] => [
    { type: 'failed', step: 'a', operation: 'compensate', error, terminal: false, waiting: true, attempt },
    { type: 'due' },
  ])
  const play = (state: SagaState, event: SagaEvent): SagaState =>
    (advance(s, state, event) as Transition | undefined)?.state ?? state
  return [...turnedBack, ...again].reduce(play, initialState(s))
}

test('a cancellation that waits for another process uses no attempt', () => {
  const { status, steps } = afterFive(true)
  expect([status, steps[0]]).toMatchObject(['compensating', { wait: 'reply', attempts: 6, unanswered: 5 }])
})

test('a cancellation that waits for another process ends after the attempts that the user set', () => {
  expect(afterFive(undefined).status).toBe('stuck')
})

test('a cancellation that waited for another process waits no longer for its next answer', () => {
  expect(afterFive(true).steps[0]).toMatchObject({ wait: 'reply', leftMs: 1_000 })
})
