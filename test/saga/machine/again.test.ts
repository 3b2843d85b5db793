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
