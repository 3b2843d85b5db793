/**
 * Given / when / then on the pure machine: no database, no broker, no time. A story is a value; `when` gives the next one.
 *
 *     const declined = given(buy, done('reserve', { left: 3 })).when(refused('charge', 'payments.declined'))
 *     expect(declined.status).toBe('compensating')
 *     expect(declined.calls).toEqual([{ step: 'reserve', operation: 'compensate', attempt: 1 }])
 */
import type { OperatorAction, SagaEvent, TimelineEntry } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import type { Operation } from '../machine/operation.ts'
import {
  initialState,
  type SagaFailure,
  type SagaShape,
  type SagaState,
  type SagaStatus,
  type StepStatus,
} from '../machine/state.ts'

/** A call requested by the last event. */
export interface StoryCall {
  readonly step: string
  readonly operation: Operation
  readonly attempt: number
}

/** State of a saga after some events: its past steps, and its next calls. */
export interface Story {
  readonly status: SagaStatus
  readonly failure: SagaFailure | undefined
  /** Status by step: `{ reserve: 'invoked', charge: 'invoking' }`. */
  readonly steps: Readonly<Record<string, StepStatus>>
  /** Calls that the last event caused. */
  readonly calls: readonly StoryCall[]
  /** False: the last event had no meaning in its state, and changed nothing. */
  readonly heard: boolean
  readonly timeline: readonly TimelineEntry[]
  readonly state: SagaState
  /** Applies further events. */
  when(...events: readonly SagaEvent[]): Story
}

/** Starts a saga and applies these events. @throws TypeError when it is not a saga */
export function given(saga: SagaShape, ...events: readonly SagaEvent[]): Story {
  if (!Array.isArray(saga?.steps) || saga.steps.length === 0) {
    throw new TypeError('given: expected a saga made by defineSaga, with at least one step')
  }
  return tell(saga, initialState(saga), [], [], true).when({ type: 'started' }, ...events)
}

/** The step, or its compensation, has succeeded. */
export function done(step: string, result?: unknown, operation: Operation = 'invoke'): SagaEvent {
  return { type: 'succeeded', step, operation, ...(result !== undefined && { result }) }
}

/** The compensation of the step has succeeded. */
export function undone(step: string): SagaEvent {
  return done(step, undefined, 'compensate')
}

/** The step was refused, and nothing was done. */
export function refused(step: string, code: string, message: string = code): SagaEvent {
  return { type: 'refused', step, operation: 'invoke', error: { code, message } }
}

/** An attempt failed, and whether it had an effect is unknown. `terminal`: a further attempt is pointless. */
export function attemptFailed(
  step: string,
  options: { readonly operation?: Operation; readonly terminal?: boolean; readonly code?: string } = {},
): SagaEvent {
  const { operation = 'invoke', terminal = false, code = 'error' } = options
  return { type: 'failed', step, operation, terminal, error: { code, message: code } }
}

/** The saga is due: a pause or a timer has ended, a reply or a signal is late, or a process has died. */
export function due(): SagaEvent {
  return { type: 'due' }
}

/** The signal that the step waits for. */
export function signalled(step: string, payload?: unknown): SagaEvent {
  return { type: 'signalled', step, ...(payload !== undefined && { payload }) }
}

/** The condition of the step does not hold. */
export function omitted(step: string): SagaEvent {
  return { type: 'omitted', step }
}

/** The saga's deadline has passed. */
export function expired(): SagaEvent {
  return { type: 'expired' }
}

/** An operator's action: see `OperatorAction`. `outcome` counts for `resolve` only. */
export function operator(action: OperatorAction['do'], outcome: 'completed' | 'compensated' = 'completed'): SagaEvent {
  const done: OperatorAction = action === 'resolve' ? { do: action, outcome } : { do: action }
  return { type: 'operator', action: done, by: 'test', reason: 'test' }
}

function tell(
  saga: SagaShape,
  state: SagaState,
  calls: readonly StoryCall[],
  timeline: readonly TimelineEntry[],
  heard: boolean,
): Story {
  return Object.freeze({
    status: state.status,
    failure: state.failure,
    steps: Object.fromEntries(state.steps.map(({ step, status }) => [step, status])),
    calls,
    heard,
    timeline,
    state,
    when: (...events: readonly SagaEvent[]) =>
      events.reduce<Story>((story, event) => next(saga, story, event), tell(saga, state, calls, timeline, heard)),
  })
}

function next(saga: SagaShape, story: Story, event: SagaEvent): Story {
  const transition = advance(saga, story.state, event)
  if (transition === undefined) return tell(saga, story.state, [], story.timeline, false)
  const calls = transition.calls.map(({ step, operation, attempt }) => ({ step, operation, attempt }))
  return tell(saga, transition.state, calls, [...story.timeline, ...transition.timeline], true)
}
