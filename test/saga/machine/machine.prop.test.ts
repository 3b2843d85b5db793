import type { SagaState } from 'concordat/saga'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  advance,
  initialState,
  type Operation,
  type SagaEvent,
  type SagaShape,
  type Transition,
} from '../../support/inside/saga.ts'
import { inputs } from '../../support/suite/night.ts'
import { freeze, NAMES, OPEN, OPENS, Referee, shapes } from '../support/referee.ts'

const error = { code: 'x', message: 'x' }
const OPERATIONS = ['invoke', 'confirm', 'compensate'] as const
const step = fc.constantFrom(...NAMES, ...NAMES.flatMap((name) => [`${name}[0]`, `${name}[1]`]))
const operation = fc.constantFrom<Operation>('invoke', 'compensate', 'confirm')
const outsideEvents: fc.Arbitrary<SagaEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('succeeded' as const), step, operation, result: fc.nat() }) },
  fc.record({ type: fc.constant('refused' as const), step, operation, error: fc.constant(error) }),
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('failed' as const),
      step,
      operation,
      error: fc.constant(error),
      terminal: fc.boolean(),
      attempt: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    }),
  },
  { weight: 3, arbitrary: fc.constant<SagaEvent>({ type: 'due' }) },
  fc.constant<SagaEvent>({ type: 'started' }),
  fc.constant<SagaEvent>({ type: 'resumed' }),
  fc.record({ type: fc.constant('yielded' as const), step }),
  fc.constant<SagaEvent>({ type: 'expired' }),
  fc.record({ type: fc.constant('omitted' as const), step }),
  fc.record({ type: fc.constant('armed' as const), step, ms: fc.nat(100) }),
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('planned' as const),
      step: fc.constantFrom(...NAMES),
      items: fc.array(fc.nat(), { maxLength: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('chosen' as const),
      step: fc.constantFrom(...NAMES),
      branch: fc.constantFrom('x', 'y', 'z'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('signalled' as const), step, payload: fc.nat() }) },
)
const operatorEvents: fc.Arbitrary<SagaEvent> = fc
  .constantFrom(
    { do: 'retry' as const },
    { do: 'skip' as const },
    { do: 'compensate' as const },
    { do: 'cancel' as const },
  )
  .map((action) => ({ type: 'operator', action, by: 'me', reason: 'test' }))

/** @param elapsedMs between one event and the next, in turn */
function play(
  shape: SagaShape,
  events: readonly SagaEvent[],
  elapsedMs: readonly number[] = [],
): { state: SagaState; referee: Referee } {
  const referee = new Referee(shape)
  let state = freeze(initialState(shape))
  for (const [n, event] of [{ type: 'started' } as const, ...events].entries()) {
    const ended = state.status === 'completed' || state.status === 'compensated'
    const transition = advance(shape, state, event, 0, elapsedMs[n % elapsedMs.length])
    if (ended) expect(transition, 'an ended saga hears nothing').toBeUndefined()
    if (transition === undefined) continue
    referee.check(state, transition)
    state = freeze(transition.state)
  }
  return { state, referee }
}

describe('the machine', () => {
  test('stays legal under any events in any order, repeated or not', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.array(fc.oneof({ weight: 9, arbitrary: outsideEvents }, operatorEvents)),
        fc.array(fc.constantFrom(0, 7, 1_000), { minLength: 1, maxLength: 5 }),
        (s, events, elapsedMs) => void play(s, events, elapsedMs),
      ),
      { numRuns: inputs(3_000) },
    )
  })

  test('ends from every reachable state when calls work from then on and an operator retries stuck steps', () => {
    fc.assert(
      fc.property(shapes, fc.array(outsideEvents, { maxLength: 30 }), (s, events) => {
        const { state, referee } = play(s, events)
        let current = state
        for (let n = 0; n < 80 && current.status !== 'completed' && current.status !== 'compensated'; n++) {
          const event = help(s, current)
          const transition = advance(s, current, event)
          expect(transition, `${JSON.stringify(event)} in ${JSON.stringify(current)}`).toBeDefined()
          referee.check(current, transition as Transition)
          current = (transition as Transition).state
        }
        expect(['completed', 'compensated']).toContain(current.status)
      }),
      { numRuns: inputs(2_000) },
    )
  })

  test('hearing an event twice is hearing it once', () => {
    fc.assert(
      fc.property(shapes, fc.array(outsideEvents, { maxLength: 30 }), (s, events) => {
        const answers = events.filter(({ type }) => type === 'succeeded' || type === 'refused')
        const doubled = answers.flatMap((event) => [event, event])
        expect(play(s, doubled).state).toEqual(play(s, answers).state)
      }),
      { numRuns: inputs(1_000) },
    )
  })
})

/** Next event in a world without faults. */
function help(shape: SagaShape, state: SagaState): SagaEvent {
  if (state.status === 'stuck') return { type: 'operator', action: { do: 'retry' }, by: 'me', reason: 'fixed' }
  const all = state.steps.filter(({ status }) => OPEN.includes(status))
  const open = all.find(({ wait }) => wait !== 'operator') ?? all[0]
  if (open?.wait === 'plan') {
    const { each } = shape.steps.find(({ name }) => name === open.step) ?? {}
    if (each === undefined) return { type: 'chosen', step: open.step, branch: 'x' }
    return { type: 'planned', step: open.step, items: [7, 8, 9] }
  }
  if (open?.wait === 'time') return { type: 'due' }
  if (open?.wait === 'signal') return { type: 'signalled', step: open.step, payload: 1 }
  if (open?.wait === 'retry') return { type: 'due' }
  if (open?.wait === 'operator') return { type: 'operator', action: { do: 'retry' }, by: 'me', reason: 'fixed' }
  const { step: name = '', status } = open ?? {}
  const operation = OPERATIONS.find((candidate) => OPENS[candidate] === status) ?? 'invoke'
  return { type: 'succeeded', step: name, operation }
}
