/**
 * The saga machine: (shape, state, event) -> the next state, the calls to make and when the saga is due again. Pure: no I/O and
 * no clock; randomness is a parameter. The coordinator is a loop around `advance`.
 *
 * ```
 *           refused, given up, cancelled or late before the pivot
 *   running ---------------------------------------> compensating ---> compensated
 *      |  \                                             |     ^
 *      |   `-- given up at or after the pivot           |     | operator: retry, skip
 *      v                \                given up       v     |
 *   completed            `---------------------------> stuck -' ---> (operator: resolve) ```
 *
 * Rules that hold for all events, in any order and any number of times:
 * - a step is called only in a state that records the intent, and that state is written before the call is made;
 * - a compensation follows only an intent: `invoked` and `unknown` steps are undone, in reverse order, each once;
 * - a refusal is definite: the step is not undone, unless an earlier local attempt is in doubt;
 * - a cancelled saga is undone at once, or, while a local call runs, after that call has returned;
 * - steps of a group are open together; if one refuses, all are undone, as by a cancellation, one after the other;
 * - a saga that is a step of another can be undone after it completed, because it has no pivot;
 * - after the pivot the saga only goes forward; a pivot in doubt is never undone, but parked;
 * - a reservation is confirmed once the saga is decided: past its pivot, or, without one, when all steps are done.
 *   From the first confirmation on the saga cannot be undone, and an undone step is never confirmed;
 * - confirmations are open together; a parked one makes the saga stuck when the others are done or parked, too;
 * - code is called once. While it runs it adds branches and decides what a refusal means. After it has returned, all
 *   branches are confirmed or all are cancelled; when it or its process fails, or a branch is in doubt, all are cancelled;
 * - a branch that the code added and the state lost is added again when the code ends: it is called again, or cancelled;
 * - an event that does not fit the state (late, repeated, reordered) changes nothing: `advance` returns `undefined`.
 *
 * @see Hector Garcia-Molina and Kenneth Salem, "Sagas" (1987); Chris Richardson on compensatable, pivot, retriable steps
 */
import { backoffDelayMs } from '../../core/backoff.ts'
import { isOrder } from './advance-scripted-saga.ts'
import { applyOperatorAction, noteOf } from './apply-operator-action.ts'
import { chosen, leaveOut, planned } from './dynamic-steps.ts'
import type { SagaEvent, TimelineEntry } from './event.ts'
import {
  addLost,
  askLater,
  backward,
  confirmed,
  forward,
  giveUp,
  goesOnlyForward,
  goOn,
  isHeldUp,
  onward,
  park,
  turnBack,
  undoFurther,
} from './moves.ts'
import { isEnded, type SagaShape, type SagaState, type StepFailure } from './state.ts'
import { type Transition, TransitionDraft } from './transition-draft.ts'

/**
 * Returns the next state, or `undefined` when the event has no meaning in this state.
 * @param random in [0, 1): spreads the retries
 * @param elapsedMs since the state was written. @default long enough for every wait to be over
 */
export function advance(
  shape: SagaShape,
  state: SagaState,
  event: SagaEvent,
  random: number = 0,
  elapsedMs: number = Number.POSITIVE_INFINITY,
): Transition | undefined {
  const isUndone = event.type === 'undo' && state.status === 'completed' && shape.script === undefined
  const isOrdered = shape.script !== undefined && event.type === 'operator' && isOrder(event.action.do)
  if (isEnded(state.status) && !isUndone && !isOrdered) return undefined
  const draft = new TransitionDraft(shape, state, elapsedMs)
  return accept(draft, event, random) ? draft.transition() : undefined
}

/** Maximum number of times that a step may take its process down. */
const MAX_ORPHANS = 50
const TIMEOUT: StepFailure = { code: 'saga.no_reply', message: 'no reply came in time' }
const LATE: StepFailure = { code: 'saga.deadline', message: "the saga's deadline has passed" }
const NO_SIGNAL: StepFailure = { code: 'saga.no_signal', message: 'no signal came in time' }
const UNDONE: StepFailure = { code: 'saga.undone', message: 'the saga that it is a step of turned back' }
const ORPHANED: StepFailure = { code: 'saga.orphaned', message: 'the coordinator that ran the step is gone' }

/** Returns false if the event does not fit the state. */
function accept(draft: TransitionDraft, event: SagaEvent, random: number): boolean {
  switch (event.type) {
    case 'started':
      return start(draft)
    case 'due':
      return due(draft)
    case 'resumed':
      return resumed(draft)
    case 'yielded':
      return yielded(draft, event)
    case 'succeeded':
      return succeeded(draft, event)
    case 'refused':
      return refused(draft, event, random)
    case 'failed':
      return failed(draft, event, random)
    case 'omitted':
      return omitted(draft, event.step)
    case 'armed':
      return armed(draft, event.step, event.ms)
    case 'signalled':
      return signalled(draft, event.step, event.payload)
    case 'planned':
      return planned(draft, event.step, event.items)
    case 'chosen':
      return chosen(draft, event.step, event.branch)
    case 'branched':
      return branched(draft, event)
    case 'late':
      return late(draft, event.step)
    case 'unwritable':
      return unwritable(draft, event)
    case 'undo':
      return undo(draft)
    case 'expired':
      return cancel(draft, LATE, 'expired')
    case 'operator':
      if (event.action.do !== 'cancel') return applyOperatorAction(draft, event.action, event)
      return cancel(draft, { code: 'saga.cancelled', message: event.reason }, 'operator-cancel', noteOf(event))
  }
}

/** True while the saga can still be cancelled. */
export function mayCancel(shape: SagaShape, state: SagaState): boolean {
  const draft = new TransitionDraft(shape, state, 0)
  return state.status === 'running' && state.cancel === undefined && draft.mayTurnBack(draft.open()[0] ?? -1)
}

function start(draft: TransitionDraft): boolean {
  if (draft.status !== 'running' || draft.steps.some(({ status }) => status !== 'pending')) return false
  draft.note('started')
  forward(draft)
  return true
}

/** Undoes a running saga, unless its pivot has begun. Does nothing if the saga is already being undone. */
function cancel(
  draft: TransitionDraft,
  error: StepFailure,
  kind: TimelineEntry['kind'],
  detail?: TimelineEntry['detail'],
): boolean {
  const [first = -1] = draft.open()
  if (draft.status !== 'running' || draft.cancel !== undefined || !draft.mayTurnBack(first)) return false
  draft.note(kind, first === -1 ? undefined : first, detail)
  return turnBack(draft, first, error)
}

/** A repeated order only matters to a saga that an operator has since ended as completed. */
function undo(draft: TransitionDraft): boolean {
  const { parent, status } = draft
  if (parent === undefined || (parent.operation === 'compensate' && status !== 'completed')) return false
  if (draft.isConfirmed) return false
  draft.parent = { ...parent, operation: 'compensate' }
  draft.note('undo')
  // If it were stuck going forward, an operator or a late reply could let it begin new steps.
  const isParkedAhead = status === 'stuck' && draft.open().every((index) => draft.operation(index) === 'invoke')
  const isTurning = status === 'compensating' || (status === 'running' && draft.cancel !== undefined)
  if (isTurning || (status === 'stuck' && !isParkedAhead)) draft.keeps = true
  else if (draft.open().some((index) => draft.operation(index) === 'compensate')) undoFurther(draft, UNDONE)
  else turnBack(draft, -1, UNDONE)
  return true
}

/** Handles a due saga: each open step whose wait is over continues. */
function due(draft: TransitionDraft): boolean {
  const open = draft.open()
  if (open.length === 0) return start(draft)
  const { status } = draft
  if (status === 'stuck') return false
  for (const index of open) {
    // A single timeout may undo all of them, which begins new calls.
    if (draft.status !== status) break
    const { wait } = draft.step(index)
    if (wait === 'call' || draft.isDue(index)) stepDue(draft, index)
  }
  return true
}

function stepDue(draft: TransitionDraft, index: number): void {
  const { step, wait, attempts } = draft.step(index)
  switch (wait) {
    case 'call':
      return orphaned(draft, index)
    case 'reply':
      draft.note('timed-out', index, { attempt: attempts })
      draft.doubt(index, TIMEOUT)
      return unanswered(draft, index)
    case 'retry':
      return draft.cancel === undefined ? draft.call(index, attempts + 1) : void giveUp(draft, index, draft.cancel)
    case 'time':
      return void succeeded(draft, { step, operation: 'invoke' })
    case 'plan':
      return draft.call(index, attempts)
    case 'signal':
      draft.note('timed-out', index)
      return void giveUp(draft, index, NO_SIGNAL)
    case 'operator':
    case undefined:
      return
  }
}

/** Handles a missing reply: another attempt, or none if this was the last. */
function unanswered(draft: TransitionDraft, index: number): void {
  const { attempts, unanswered: before = 0 } = draft.step(index)
  const { maxAttempts, patient } = draft.policy(index)
  if (isHeldUp(draft)) return void giveUp(draft, index, TIMEOUT)
  if (patient === true) draft.set(index, { unanswered: before + 1 })
  else if (attempts >= maxAttempts) return void giveUp(draft, index, TIMEOUT)
  draft.call(index, attempts + 1)
}

/**
 * Handles the death of the process that ran the step: the same attempt is repeated, because a crash says little about the step.
 */
function orphaned(draft: TransitionDraft, index: number): void {
  const { attempts, orphans = 0 } = draft.step(index)
  draft.note('orphaned', index, { attempt: attempts })
  draft.doubt(index, ORPHANED)
  draft.set(index, { orphans: orphans + 1 })
  if (draft.shapeOf(index).code === true) giveUp(draft, index, draft.cancel ?? ORPHANED)
  else if (draft.cancel !== undefined) giveUp(draft, index, draft.cancel)
  else if (orphans + 1 >= MAX_ORPHANS) giveUp(draft, index, ORPHANED)
  else draft.call(index, attempts)
}

/** Returns false if the code has ended, is to end, or has called this branch before. */
function branched(draft: TransitionDraft, event: Extract<SagaEvent, { type: 'branched' }>): boolean {
  if (draft.status !== 'running' || draft.cancel !== undefined || !draft.isCoding) return false
  if (draft.steps.some((state) => state.step === event.step)) return false
  draft.grow(event)
  return true
}

function late(draft: TransitionDraft, step: string): boolean {
  const index = draft.open().find((open) => draft.step(open).step === step) ?? -1
  if (index === -1 || draft.status === 'stuck' || draft.step(index).wait === 'call' || !draft.isDue(index)) return false
  stepDue(draft, index)
  return true
}

/** Local calls that run in other processes return first. */
function unwritable(draft: TransitionDraft, { error, step }: Extract<SagaEvent, { type: 'unwritable' }>): boolean {
  if (draft.status === 'stuck') return false
  const parked = draft.open().filter((index) => draft.step(index).wait !== 'call' || draft.step(index).step === step)
  for (const index of parked) {
    const { wait } = draft.step(index)
    if (wait === 'call' || wait === 'reply') draft.doubt(index, error)
    if (wait !== 'operator') park(draft, index, error)
  }
  return parked.length > 0
}

function omitted(draft: TransitionDraft, step: string): boolean {
  const index = draft.indexOf(step, 'invoke')
  if (index === -1 || !draft.mayOmit(index)) return false
  draft.close(index, 'omitted')
  draft.note('omitted', index)
  if (draft.shapeOf(index).awaits === 'plan') leaveOut(draft, step)
  onward(draft, index)
  return true
}

function armed(draft: TransitionDraft, step: string, ms: number): boolean {
  const index = draft.indexOf(step, 'invoke')
  if (index === -1 || draft.step(index).wait !== 'time') return false
  draft.wait(index, 'time', ms)
  return true
}

/** An early signal is stored for its step; a repeated or late one has no effect. */
function signalled(draft: TransitionDraft, step: string, payload: unknown): boolean {
  const index = draft.steps.findIndex((candidate) => candidate.step === step)
  if (index === -1 || draft.shapeOf(index).awaits !== 'signal') return false
  const { status, signal } = draft.step(index)
  if (status === 'invoking') return succeeded(draft, { step, operation: 'invoke', result: payload })
  if (status !== 'pending' || signal !== undefined || draft.status === 'compensating') return false
  draft.set(index, { signal: payload === undefined ? {} : { payload } })
  draft.note('signalled', index)
  draft.keeps = true
  return true
}

function resumed(draft: TransitionDraft): boolean {
  const waiting = draft.open().filter((index) => draft.step(index).wait === 'reply')
  for (const index of waiting) draft.resend(index)
  return waiting.length > 0
}

/** This process will not make a planned call, so the attempt does not count. */
function yielded(draft: TransitionDraft, { step, sent }: Extract<SagaEvent, { type: 'yielded' }>): boolean {
  const index = draft.open().find((open) => draft.step(open).step === step)
  const { wait, attempts = 0 } = index === undefined ? {} : draft.step(index)
  if (index === undefined || (wait !== 'call' && wait !== 'reply')) return false
  if (draft.shapeOf(index).code === true) return giveUp(draft, index, draft.cancel ?? ORPHANED)
  draft.wait(index, 'retry', 0)
  draft.set(index, { attempts: attempts - 1, ...(sent && { doubt: sent }) })
  return true
}

type Success = Omit<Extract<SagaEvent, { type: 'succeeded' }>, 'type'>

function succeeded(draft: TransitionDraft, { step, operation, result, branches }: Success): boolean {
  const index = draft.indexOf(step, operation)
  // After a step that awaits a plan the definition decides, not a reply.
  if (index === -1 || draft.shapeOf(index).awaits === 'plan') return false
  goOn(draft, index)
  addLost(draft, branches)
  switch (operation) {
    case 'invoke': {
      const reserved = draft.shapeOf(index).confirm === undefined ? {} : ({ reserved: true } as const)
      // A script asks whether an earlier call may have had an effect; the result may be that the call failed.
      const doubt = draft.isScripted && draft.step(index).doubt === true ? ({ doubt: true } as const) : {}
      draft.close(index, 'invoked', { ...reserved, ...doubt, ...(result !== undefined && { result }) })
      draft.note('invoked', index)
      onward(draft, index)
      return true
    }
    case 'confirm':
      draft.close(index, 'confirmed')
      draft.note('confirmed', index)
      confirmed(draft)
      return true
    case 'compensate':
      draft.close(index, 'compensated')
      draft.note('compensated', index)
      backward(draft)
      return true
  }
}

type Answer = Extract<SagaEvent, { type: 'refused' | 'failed' }>

/** True for a reply from before an operator's retry, which says nothing about this round. */
function isOfEarlierRound(draft: TransitionDraft, index: number, { round }: Answer): boolean {
  return typeof round === 'number' && round < (draft.step(index).round ?? 0)
}

/**
 * After an operator's retry: tells whether a reply without a round may belong to it. Such a reply decides nothing, and the
 * participant is called again.
 */
function isOfUnknownRound(draft: TransitionDraft, index: number, { round }: Answer): boolean {
  return round === 'unknown' && (draft.step(index).round ?? 0) > 0
}

function refused(draft: TransitionDraft, event: Extract<Answer, { type: 'refused' }>, random: number): boolean {
  const { step, operation, error } = event
  const index = draft.indexOf(step, operation)
  if (index === -1 || isOfEarlierRound(draft, index, event)) return false
  if (isOfUnknownRound(draft, index, event)) return failed(draft, { ...event, type: 'failed', terminal: true }, random)
  const noWayBack = goesOnlyForward(draft, index) || operation !== 'invoke'
  if (noWayBack && draft.step(index).wait === 'operator') return false
  draft.note('refused', index, { code: error.code, message: error.message })
  if (noWayBack) return park(draft, index, error)
  const { remote, pivot } = draft.shapeOf(index)
  const inDoubt = draft.step(index).doubt === true && !remote
  if (inDoubt && pivot) return park(draft, index, error)
  addLost(draft, event.branches)
  draft.close(index, inDoubt ? 'unknown' : 'refused', { error })
  // Nothing was done; the code decides what follows.
  if (!inDoubt && draft.isCoding && draft.cancel === undefined) return true
  return turnBack(draft, index, error)
}

function failed(draft: TransitionDraft, event: Extract<Answer, { type: 'failed' }>, random: number): boolean {
  const index = draft.indexOf(event.step, event.operation)
  if (index === -1 || isOfEarlierRound(draft, index, event)) return false
  const isTerminal = event.terminal && !isOfUnknownRound(draft, index, event)
  const { attempts, wait, failedAttempt = 0 } = draft.step(index)
  if (wait !== 'call' && wait !== 'reply') return false
  const attempt = event.attempt ?? attempts
  const isEarlier = attempt !== attempts && !isTerminal
  // For an operation that waits for replies without limit, the failure of an earlier copy counts like that of the newest one.
  if (isEarlier && (wait === 'call' || draft.policy(index).patient !== true)) return false
  const isUncounted = event.waiting === true && draft.policy(index).patient === true
  if (isEarlier && (isUncounted || attempt > attempts || attempt <= failedAttempt)) return false
  const { code, message } = event.error
  draft.note('failed', index, { attempt: isEarlier ? attempt : attempts, code, message })
  draft.doubt(index, event.error)
  addLost(draft, event.branches)
  if (draft.cancel !== undefined) return giveUp(draft, index, draft.cancel)
  const { maxAttempts, backoff } = draft.policy(index)
  if (isUncounted) return askLater(draft, index, random)
  if (isEarlier) draft.answeredLate(index, attempt)
  const answered = draft.answered(index) - (isEarlier ? 1 : 0)
  if (isTerminal || answered >= maxAttempts) return giveUp(draft, index, event.error)
  // A newer copy has been sent: wait for its reply, and send no other copy before.
  if (isEarlier) return true
  if (wait === 'reply') draft.set(index, { failedAttempt: attempts })
  draft.wait(index, 'retry', backoffDelayMs(backoff, answered, random))
  return true
}
