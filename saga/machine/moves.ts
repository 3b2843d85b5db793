/** Moves of a saga: forward, backward, to its end, or parked for an operator. `machine.ts` responds to events with them. */

import { backoffDelayMs } from '../../core/backoff.ts'
import { follow } from './advance-scripted-saga.ts'
import { endSaga } from './end-saga.ts'
import { OPERATIONS } from './operation.ts'
import type { GrownStep, StepFailure } from './state.ts'
import type { TransitionDraft } from './transition-draft.ts'

/** Continues a stuck saga in its previous direction. */
export function goOn(draft: TransitionDraft, index: number): void {
  if (draft.status !== 'stuck') return
  draft.status = OPERATIONS[draft.operation(index)].goesBack ? 'compensating' : 'running'
  if (draft.status === 'running') draft.failure = undefined
}

/** Begins the next step after one has ended. */
export function onward(draft: TransitionDraft, index: number): void {
  if (draft.cancel !== undefined) return void turnBack(draft, index, draft.cancel)
  const list = draft.listOf(index)
  if (draft.isScripted) follow(draft)
  for (const item of list === -1 ? [] : draft.itemsOf(list)) draft.begin(item, 'invoking')
  if (draft.open().length > 0 || draft.isScripted) parkSaga(draft)
  else forward(draft)
}

/** Begins the next step or group of steps, or completes the saga. Reservations are confirmed first, when the saga is decided. */
export function forward(draft: TransitionDraft): void {
  while (draft.open().length === 0) {
    const next = draft.steps.findIndex(({ status }) => status === 'pending')
    if (next === -1 || draft.afterPivot(next)) confirmAll(draft)
    if (draft.open().length > 0) return
    if (next === -1) return draft.isScripted ? follow(draft) : void endSaga(draft, 'completed')
    for (const index of draft.groupOf(next)) {
      const { signal } = draft.step(index)
      if (signal === undefined || draft.shapeOf(index).conditional === true) {
        draft.begin(index, 'invoking')
      } else {
        draft.close(index, 'invoked', signal.payload === undefined ? {} : { result: signal.payload })
        draft.note('invoked', index)
      }
    }
  }
}

/** Confirms all reservations at once after the saga was decided. A hanging confirmation does not block the others. */
function confirmAll(draft: TransitionDraft): void {
  for (const [index, { status }] of draft.steps.entries()) {
    if (status === 'invoked' && draft.shapeOf(index).confirm !== undefined) draft.begin(index, 'confirming')
  }
}

/** Continues when all confirmations are done, or parks the saga when the remaining ones need an operator. */
export function confirmed(draft: TransitionDraft): void {
  if (draft.open().length === 0) forward(draft)
  else parkSaga(draft)
}

/** Begins the next compensation, last step first, or ends. */
export function backward(draft: TransitionDraft): void {
  const next = draft.steps.findLastIndex(
    ({ status }, index) => (status === 'invoked' || status === 'unknown') && draft.shapeOf(index).compensates,
  )
  if (next === -1) endSaga(draft, 'compensated')
  else draft.begin(next, 'compensating')
}

/**
 * Undoes the saga. All waits end, and waiting steps may have happened; but running local calls may return first, so that nothing
 * is undone while it still runs.
 * @param index of the step with the reason, -1 before the first
 */
export function turnBack(draft: TransitionDraft, index: number, error: StepFailure): true {
  draft.failure ??= { step: draft.steps[index]?.step ?? '', ...error }
  draft.cancel ??= error
  for (const open of draft.open()) {
    const isRevoked = draft.revoke(open)
    if (isRevoked || draft.step(open).wait !== 'call') draft.close(open, draft.undoneAs(open), { error: draft.cancel })
  }
  if (draft.open().length > 0) return true
  draft.status = 'compensating'
  backward(draft)
  return true
}

/**
 * Continues undoing after an operator had ended the saga in the middle of a compensation: calls that one again, then the previous
 * ones.
 */
export function undoFurther(draft: TransitionDraft, error: StepFailure): void {
  draft.failure ??= { step: '', ...error }
  draft.status = 'compensating'
  for (const open of draft.open()) draft.call(open, 1)
}

/** Tells whether the step cannot be undone, or goes only forward unless another step undoes the saga. */
export function goesOnlyForward(draft: TransitionDraft, index: number): boolean {
  return draft.afterPivot(index) || (draft.shapeOf(index).forward === true && draft.cancel === undefined)
}

/** Handles a step without further attempts. */
export function giveUp(draft: TransitionDraft, index: number, error: StepFailure): true {
  const { pivot, transactional } = draft.shapeOf(index)
  const invoking = draft.operation(index) === 'invoke'
  if (!invoking || goesOnlyForward(draft, index) || (pivot && !transactional)) return park(draft, index, error)
  draft.close(index, draft.undoneAs(index), { error })
  return turnBack(draft, index, error)
}

export function park(draft: TransitionDraft, index: number, error: StepFailure): true {
  draft.wait(index, 'operator', undefined)
  draft.set(index, { error })
  draft.note('stuck', index, { operation: draft.operation(index), code: error.code, message: error.message })
  parkSaga(draft)
  return true
}

/** True when a step waits for an operator while others continue, so that these do not delay the operator. */
export function isHeldUp(draft: TransitionDraft): boolean {
  return draft.open().some((index) => draft.step(index).wait === 'operator')
}

/**
 * Parks the saga when no call is running and a step waits for an operator. Other steps may wait for a time, a signal or another
 * saga for days, or forever, so the operator is notified before, and they continue to wait.
 */
function parkSaga(draft: TransitionDraft): void {
  const open = draft.open()
  const first = open.find((index) => draft.step(index).wait === 'operator')
  if (first === undefined || open.some((index) => draft.isCalling(index))) return
  const { step, error } = draft.step(first)
  draft.failure ??= { step, code: 'saga.unknown', message: 'no failure recorded', ...error }
  draft.stick()
}

/**
 * Handles a reply that the participant waits for another process: the attempt does not count, and the next one has the same time
 * limit.
 */
export function askLater(draft: TransitionDraft, index: number, random: number): true {
  const { attempts, unanswered = 0, notYet = 0 } = draft.step(index)
  draft.set(index, { unanswered: unanswered + 1, notYet: notYet + 1, failedAttempt: attempts })
  draft.wait(index, 'retry', backoffDelayMs(draft.policy(index).backoff, unanswered + 1, random))
  return true
}

/**
 * Adds branches that the state has lost. Their effects may exist: those that are not undone are called again under their names.
 */
export function addLost(draft: TransitionDraft, branches: readonly GrownStep[] = []): void {
  const there = new Set(draft.steps.map(({ step }) => step))
  for (const branch of branches) {
    if (there.has(branch.step)) continue
    draft.grow(branch)
    draft.set(draft.steps.length - 1, { doubt: true })
  }
}
