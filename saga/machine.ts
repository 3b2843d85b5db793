/**
 * The saga machine: (shape, state, event) -> the next state, the calls to make and when to look again. Pure: no I/O, no
 * clock; randomness comes in as a number. The coordinator is a loop around `advance`.
 *
 * ```
 *              refused, given up before the pivot
 *   running ---------------------------------------> compensating ---> compensated
 *      |  \                                             |     ^
 *      |   `-- given up at or after the pivot           |     | operator: retry, skip
 *      v                \                given up       v     |
 *   completed            `---------------------------> stuck -' ---> (operator: resolve)
 * ```
 *
 * Rules it keeps whatever comes in, in any order and any number of times:
 * - a step is called only in a state that records the intent, and that state is written before the call is made;
 * - a compensation follows only an intent: `invoked` and `unknown` steps are undone, in reverse order, each once;
 * - a refusal is a definite no of that step: it is not undone, unless an earlier local attempt is in doubt;
 * - after the pivot there is only forward; a pivot in doubt is never undone, it is parked;
 * - an event that does not fit the state (late, repeated, reordered) changes nothing: `advance` answers `undefined`.
 *
 * @see Hector Garcia-Molina and Kenneth Salem, "Sagas" (1987); Chris Richardson on compensatable, pivot, retriable steps
 */
import { backoffDelayMs } from '../core/backoff.ts'
import { Draft, type Transition } from './draft.ts'
import type { OperatorAction, SagaEvent } from './event.ts'
import { isEnded, type Operation, type SagaShape, type SagaState, type StepFailure } from './state.ts'

/**
 * The next state, or `undefined` when the event means nothing in this state.
 * @param random in [0, 1): spreads the retries
 */
export function advance(
  shape: SagaShape,
  state: SagaState,
  event: SagaEvent,
  random: number = 0,
): Transition | undefined {
  if (isEnded(state.status)) return undefined
  const draft = new Draft(shape, state)
  return accept(draft, event, random) ? draft.transition() : undefined
}

/** A step that took its process down so often is given up. */
const MAX_ORPHANS = 50
const TIMEOUT: StepFailure = { code: 'saga.no_reply', message: 'no reply came in time' }
const ORPHANED: StepFailure = { code: 'saga.orphaned', message: 'the coordinator that ran the step is gone' }

/** False: the event does not fit. */
function accept(draft: Draft, event: SagaEvent, random: number): boolean {
  switch (event.type) {
    case 'started':
      return start(draft)
    case 'due':
      return due(draft)
    case 'resumed':
      return resumed(draft)
    case 'yielded':
      return yielded(draft, event.step)
    case 'succeeded':
      return succeeded(draft, event.step, event.operation, event.result)
    case 'refused':
      return refused(draft, event.step, event.operation, event.error)
    case 'failed':
      return failed(draft, event, random)
    case 'operator':
      return operate(draft, event.action, event.by, event.reason)
  }
}

function start(draft: Draft): boolean {
  if (draft.status !== 'running' || draft.steps.some(({ status }) => status !== 'pending')) return false
  draft.note('started')
  forward(draft)
  return true
}

/** The time to look again has come. What it means depends on what was waited for. */
function due(draft: Draft): boolean {
  const index = draft.openIndex()
  if (index === -1) return start(draft)
  const { wait, attempts } = draft.step(index)
  if (wait === undefined || wait === 'operator') return false
  if (wait === 'call') return orphaned(draft, index)
  if (wait === 'reply') {
    draft.note('timed-out', index, { attempt: attempts })
    draft.doubt(index, TIMEOUT)
    if (attempts >= draft.policy(index).maxAttempts) return giveUp(draft, index, TIMEOUT)
  }
  draft.call(index, attempts + 1)
  return true
}

/** Whoever ran the step is gone: the same attempt again, for a crash says little of the step. */
function orphaned(draft: Draft, index: number): boolean {
  const { attempts, orphans = 0 } = draft.step(index)
  draft.note('orphaned', index, { attempt: attempts })
  draft.doubt(index, ORPHANED)
  draft.set(index, { orphans: orphans + 1 })
  if (orphans + 1 >= MAX_ORPHANS) return giveUp(draft, index, ORPHANED)
  draft.call(index, attempts)
  return true
}

function resumed(draft: Draft): boolean {
  const index = draft.openIndex()
  if (index === -1 || draft.step(index).wait !== 'reply') return false
  draft.call(index, draft.step(index).attempts)
  return true
}

/** The call was planned but this process will not make it: as if the attempt had not been counted. */
function yielded(draft: Draft, step: string): boolean {
  const index = draft.openIndex()
  if (index === -1 || draft.step(index).step !== step || draft.step(index).wait !== 'call') return false
  draft.set(index, { wait: 'retry', attempts: draft.step(index).attempts - 1 })
  draft.wake = { kind: 'in', ms: 0 }
  return true
}

function succeeded(draft: Draft, step: string, operation: Operation, result: unknown): boolean {
  const index = draft.indexOf(step, operation)
  if (index === -1) return false
  goOn(draft, index)
  if (operation === 'invoke') {
    draft.close(index, 'invoked', result === undefined ? {} : { result })
    draft.note('invoked', index)
    forward(draft)
  } else {
    draft.close(index, 'compensated')
    draft.note('compensated', index)
    backward(draft)
  }
  return true
}

function refused(draft: Draft, step: string, operation: Operation, error: StepFailure): boolean {
  const index = draft.indexOf(step, operation)
  if (index === -1) return false
  const noWayBack = operation === 'compensate' || draft.afterPivot(index)
  if (noWayBack && draft.step(index).wait === 'operator') return false
  draft.note('refused', index, { code: error.code, message: error.message })
  if (noWayBack) return park(draft, index, error)
  const { remote, pivot } = draft.shapeOf(index)
  const inDoubt = draft.step(index).doubt === true && !remote
  if (inDoubt && pivot) return park(draft, index, error)
  draft.close(index, inDoubt ? 'unknown' : 'refused', { error })
  turnBack(draft, index, error)
  return true
}

function failed(draft: Draft, event: Extract<SagaEvent, { type: 'failed' }>, random: number): boolean {
  const index = draft.indexOf(event.step, event.operation)
  if (index === -1) return false
  const { attempts, wait } = draft.step(index)
  if (wait !== 'call' && wait !== 'reply') return false
  if (!event.terminal && event.attempt !== undefined && event.attempt !== attempts) return false
  const { code, message } = event.error
  draft.note('failed', index, { attempt: attempts, code, message })
  draft.doubt(index, event.error)
  const policy = draft.policy(index)
  if (event.terminal || attempts >= policy.maxAttempts) return giveUp(draft, index, event.error)
  draft.set(index, { wait: 'retry' })
  draft.wake = { kind: 'in', ms: backoffDelayMs(policy.backoff, attempts, random) }
  return true
}

function operate(draft: Draft, action: OperatorAction, by: string, reason: string): boolean {
  const index = draft.openIndex()
  if (draft.status !== 'stuck' || index === -1) return false
  const invoking = draft.operation(index) === 'invoke'
  if (action.do === 'compensate' && (!invoking || draft.afterPivot(index))) return false
  draft.note(`operator-${action.do}`, index, { by, reason })
  switch (action.do) {
    case 'resolve':
      return end(draft, action.outcome)
    case 'retry':
      goOn(draft, index)
      draft.call(index, 1)
      return true
    case 'compensate': {
      const error = draft.step(index).error ?? { code: 'saga.operator', message: reason }
      draft.close(index, 'skipped')
      turnBack(draft, index, error)
      return true
    }
    case 'skip':
      goOn(draft, index)
      draft.close(index, 'skipped', action.result === undefined ? {} : { result: action.result })
      if (invoking) forward(draft)
      else backward(draft)
      return true
  }
}

/** A stuck saga moves again, in the direction it had. */
function goOn(draft: Draft, index: number): void {
  if (draft.status !== 'stuck') return
  draft.status = draft.operation(index) === 'invoke' ? 'running' : 'compensating'
  if (draft.status === 'running') draft.failure = undefined
}

/** Begins the next step, or completes. */
function forward(draft: Draft): void {
  const next = draft.steps.findIndex(({ status }) => status === 'pending')
  if (next === -1) end(draft, 'completed')
  else draft.begin(next, 'invoking')
}

/** Begins the next compensation, last step first, or ends. */
function backward(draft: Draft): void {
  const next = draft.steps.findLastIndex(
    ({ status }, index) => (status === 'invoked' || status === 'unknown') && draft.shapeOf(index).compensates,
  )
  if (next === -1) end(draft, 'compensated')
  else draft.begin(next, 'compensating')
}

function turnBack(draft: Draft, index: number, error: StepFailure): void {
  draft.failure = { step: draft.step(index).step, ...error }
  draft.status = 'compensating'
  backward(draft)
}

/** No more attempts. */
function giveUp(draft: Draft, index: number, error: StepFailure): true {
  const { pivot, transactional } = draft.shapeOf(index)
  const invoking = draft.operation(index) === 'invoke'
  if (!invoking || draft.afterPivot(index) || (pivot && !transactional)) return park(draft, index, error)
  draft.close(index, transactional ? 'failed' : 'unknown', { error })
  turnBack(draft, index, error)
  return true
}

function park(draft: Draft, index: number, error: StepFailure): true {
  draft.set(index, { wait: 'operator', error })
  draft.failure ??= { step: draft.step(index).step, ...error }
  draft.status = 'stuck'
  draft.note('stuck', index, { operation: draft.operation(index), code: error.code, message: error.message })
  return true
}

function end(draft: Draft, status: 'completed' | 'compensated'): true {
  draft.status = status
  if (status === 'completed') draft.failure = undefined
  draft.note(status === 'completed' ? 'saga-completed' : 'saga-compensated')
  return true
}
