/**
 * A saga is parked because its event can never be written: the possible effects of its calls, and an order to compensate, stay
 * known.
 */
import type { SagaState } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { advance, initialState, type SagaEvent, type SagaShape, type Transition } from '../../support/inside/saga.ts'
import { shape, stepShape } from '../support/shape.ts'

const error = { code: '23514', message: 'it cannot be written' }
const unwritable: SagaEvent = { type: 'unwritable', error, step: 'pay' }
const retry: SagaEvent = { type: 'operator', action: { do: 'retry' }, by: 'ann', reason: 'looked at it' }
const cancel: SagaEvent = { type: 'operator', action: { do: 'cancel' }, by: 'ann', reason: 'rang up' }
const refused: SagaEvent = { type: 'refused', step: 'pay', operation: 'invoke', error }
const succeeded: SagaEvent = { type: 'succeeded', step: 'pay', operation: 'invoke' }

/** Plays events after the start, each of which must fit. */
function play(of: SagaShape, ...events: SagaEvent[]): Transition {
  let last = advance(of, initialState(of), { type: 'started' }) as Transition
  for (const event of events) {
    const next = advance(of, last.state, event)
    expect(next, JSON.stringify(event)).toBeDefined()
    last = next as Transition
  }
  return last
}

const statuses = ({ status, steps }: SagaState): string => [status, ...steps.map((step) => step.status)].join(' ')

describe('a step that was parked because its outcome could not be written', () => {
  test('is in doubt: a refusal of a later call does not keep the first one from being undone', () => {
    const of = shape(stepShape('pay'))
    expect(statuses(play(of, unwritable, retry, refused).state)).toBe('compensating compensating')
  })

  test.each([true, false])('is not left out when its condition is asked again (remote: %s)', (remote) => {
    const of = shape(stepShape('pay', { remote, conditional: true }))
    const { state } = play(of, unwritable, retry)
    expect(state.steps[0]).toMatchObject({ status: 'invoking', doubt: true })
    expect(advance(of, state, { type: 'omitted', step: 'pay' })).toBeUndefined()
  })

  test('is not in doubt when its effect would have committed with the outcome', () => {
    const of = shape(stepShape('pay', { transactional: true }))
    expect(play(of, unwritable, retry).state.steps[0]?.doubt).toBeUndefined()
  })
})

describe('a cancellation that came before the saga was parked', () => {
  const of = shape(stepShape('pay'), stepShape('ship'))

  test('turns the saga back when an operator retries, without another call of the step', () => {
    const { state, calls } = play(of, cancel, unwritable, retry)
    expect(statuses(state)).toBe('compensating compensating pending')
    expect(calls).toMatchObject([{ step: 'pay', operation: 'compensate' }])
    expect(state.failure).toMatchObject({ code: 'saga.cancelled' })
  })

  test('turns the saga back when the step succeeds after all', () => {
    expect(statuses(play(of, cancel, unwritable, succeeded).state)).toBe('compensating compensating pending')
  })

  test('does not keep the saga stuck when the saga that it is a step of turns back', () => {
    const parent = { name: 'outer', id: 'x', step: 'child', operation: 'invoke' as const, birth: 'b' }
    const parked = play(of, cancel, unwritable).state
    const undoing = advance(of, { ...parked, parent }, { type: 'undo' })
    expect(statuses(undoing?.state as SagaState)).toBe('compensating compensating pending')
  })
})
