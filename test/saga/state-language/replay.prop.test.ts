/** A machine with a loop, a sub-machine and retries, under any results in any order, repeated events and orders of operators. */

import { importStateMachine, type StateExecution, type StateMachineOutcome } from '@concordat/state-language'
import type { SagaState } from 'concordat/saga'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { advance, initialState, type SagaEvent } from '../../support/inside/saga.ts'
import { inputs } from '../../support/suite/night.ts'
import { BY_RESULT, CATCH_ALL, machine, Shop, services, task } from '../support/machines.ts'
import { freeze, OPEN } from '../support/referee.ts'

const retry = [{ Exceptions: ['java.lang.Exception'], IntervalSeconds: 1, MaxAttempts: 1 }]
const inner = machine('inner', 'Pay', {
  Pay: task('a', 'reduce', { Status: BY_RESULT, CompensateState: 'Unpay', Catch: CATCH_ALL, Next: 'Succeed' }),
  Unpay: task('a', 'compensate'),
})
const saga = importStateMachine(
  machine('outer', 'Pack', {
    Pack: task('a', 'reduce', {
      Input: ['$.[loopElement]'],
      Loop: { Parallel: 2, Collection: '$.[items]' },
      CompensateState: 'Unpack',
      Retry: retry,
      Catch: CATCH_ALL,
      Next: 'Paying',
    }),
    Unpack: task('a', 'compensate', { Input: ['$.[loopElement]'] }),
    Paying: {
      Type: 'SubStateMachine',
      StateMachineName: 'inner',
      Output: { how: '$.[_sub_statemachine_execution_status_]' },
      Next: 'Asked',
    },
    Asked: { Type: 'Choice', Choices: [{ Expression: "[how] == 'SU'", Next: 'Ship' }], Default: 'CompensationTrigger' },
    Ship: task('a', 'reduce', { CompensateState: 'Unship', Next: 'Succeed' }),
    Unship: task('a', 'compensate'),
  }),
  { services: services(new Shop(), 'a'), machines: [inner] },
)

const thrown = { names: ['Error'], message: 'x' }
const RESULTS = [{ value: true }, { value: true }, { value: true }, { value: false }, { thrown }] as const
const ORDERS = ['retry', 'compensate', 'skip'] as const
const moves = fc.array(fc.record({ pick: fc.nat(7), result: fc.constantFrom(...RESULTS), again: fc.boolean() }), {
  maxLength: 40,
})

type Move = { readonly pick: number; readonly result: unknown; readonly again: boolean }

function eventOf(state: SagaState, { pick, result }: Move): SagaEvent {
  const open = state.steps.filter(({ status }) => OPEN.includes(status))
  const step = open[pick % Math.max(1, open.length)]
  if (state.status !== 'running')
    return { type: 'operator', action: { do: ORDERS[pick % 3] ?? 'retry' }, by: 'me', reason: 'test' }
  if (step?.wait === 'time') return { type: 'due' }
  return { type: 'succeeded', step: step?.step ?? '', operation: 'invoke', result }
}

/**
 * Checks that begun steps keep their calls, that nothing is begun twice, and that an ended machine has no open step.
 */
function check(before: SagaState, state: SagaState): void {
  const asked = ({ steps }: SagaState) =>
    steps
      .filter(({ branch }) => branch === 'task' || branch === 'pause')
      .map(({ step, payload }) => ({ step, payload }))
  expect(asked(state).slice(0, asked(before).length)).toEqual(asked(before))
  expect(new Set(state.steps.map(({ step }) => step)).size).toBe(state.steps.length)
  const open = state.steps.filter(({ status }) => OPEN.includes(status))
  const isOver = state.status === 'completed' || state.status === 'compensated'
  expect(open.length === 0).toBe(isOver)
  expect(open.some(({ wait }) => wait === 'operator')).toBe(state.status === 'stuck')
}

/** Checks that its outcome matches its status, and that a successful compensation has undone all possible effects. */
function checkEnd(state: SagaState): void {
  const outcome = state.steps.find(({ step }) => step === 'outcome')?.result as StateMachineOutcome
  const { status, compensationStatus: undone } = outcome
  if (state.status === 'completed') expect([status, undone === 'FA' ? undefined : undone]).toEqual(['SU', undefined])
  if (state.status === 'compensated') expect(undone === 'SU' || (status === 'FA' && undone === undefined)).toBe(true)
  if (undone !== 'SU') return
  const left = (each: StateExecution): boolean =>
    !each.isForCompensation && !each.isSuperseded && each.status !== 'FA' && each.compensationStatus !== 'SU'
  expect(outcome.states.filter(left)).toEqual([])
}

describe('a machine of the state language', () => {
  test('replays to the same course under any events in any order, and its status matches its outcome', () => {
    const seen = { completed: 0, compensated: 0, stuck: 0 }
    fc.assert(
      fc.property(fc.noBias(moves), (played) => {
        let state = freeze(initialState(saga))
        const hear = (event: SagaEvent): void => {
          const transition = advance(saga, state, event)
          if (transition === undefined) return
          const before = state
          state = freeze(transition.state)
          check(before, state)
          if (state.status !== 'running') checkEnd(state)
        }
        hear({ type: 'started' })
        hear({ type: 'planned', step: 'machine', items: [{ params: { items: ['x', 'y', 'z'] }, key: 'outer/x' }] })
        for (const move of played) {
          const event = eventOf(state, move)
          const { status } = state
          hear(event)
          if (move.again && event.type === 'succeeded') {
            const heard = state
            hear(event)
            expect(state, 'a repeated answer means nothing').toBe(heard)
          }
          if (status === 'running' && state.status in seen) seen[state.status as keyof typeof seen]++
        }
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
      }),
      { numRuns: inputs(500) },
    )
    // A dozen of the inputs end so: a higher bound fails by chance.
    for (const [end, count] of Object.entries(seen)) expect(count, end).toBeGreaterThan(0)
  })
})
