import { expect, test } from 'vitest'
import { advance, initialState, type SagaEvent, type Transition } from '../../support/inside/saga.ts'
import { shape, stepShape } from '../support/shape.ts'

const alone = shape(stepShape('a', { pivot: true, compensates: false }))
const retry: SagaEvent = { type: 'operator', action: { do: 'retry' }, by: 'ann', reason: 'more memory' }
const crashes = (count: number): SagaEvent[] => Array.from({ length: count }, () => ({ type: 'due' }))

function statusAfter(...events: SagaEvent[]): string {
  const first = advance(alone, initialState(alone), { type: 'started' }) as Transition
  return events.reduce(({ state }, event) => advance(alone, state, event) as Transition, first).state.status
}

test('a step that an operator tries again may take down its process as often as before', () => {
  expect(statusAfter(...crashes(50))).toBe('stuck')
  expect(statusAfter(...crashes(50), retry, ...crashes(49))).toBe('running')
  expect(statusAfter(...crashes(50), retry, ...crashes(50))).toBe('stuck')
})

const remote = shape(
  stepShape('reserve', { remote: true }),
  stepShape('pay', { remote: true, pivot: true, compensates: false }),
)
const pay = { step: 'pay', operation: 'invoke' } as const
const error = { code: 'no', message: 'no' }
/** An operator has `pay` tried again, since its answer was none. */
const triedAgain: readonly SagaEvent[] = [
  { type: 'started' },
  { type: 'succeeded', step: 'reserve', operation: 'invoke' },
  { type: 'failed', ...pay, error, terminal: true, round: 0 },
  retry,
]

function statesOf(...events: readonly SagaEvent[]): readonly string[] {
  let state = initialState(remote)
  return [...triedAgain, ...events].map((event) => {
    state = advance(remote, state, event)?.state ?? state
    return state.status
  })
}

test('a refusal from before an operator’s retry says nothing about the retry, whether it names its round or not', () => {
  const done: SagaEvent = { type: 'succeeded', ...pay }
  expect(statesOf()).toEqual(['running', 'running', 'stuck', 'running'])
  expect(statesOf({ type: 'refused', ...pay, error, round: 0 }, done).slice(-2)).toEqual(['running', 'completed'])
  expect(statesOf({ type: 'refused', ...pay, error, round: 'unknown' }, done).slice(-2)).toEqual([
    'running',
    'completed',
  ])
  const failed: SagaEvent = { type: 'failed', ...pay, error, terminal: true, round: 'unknown' }
  expect(statesOf(failed, done).slice(-2)).toEqual(['running', 'completed'])
  expect(statesOf({ type: 'refused', ...pay, error, round: 1 }).at(-1)).toBe('compensating')
})
