/** Where a saga goes from here: on, back, to its end, or aside until an operator comes. What `machine.ts` answers events with. */

import { backoffDelayMs } from '../../core/backoff.ts'
import { follow } from './advance-scripted-saga.ts'
import { endSaga } from './end-saga.ts'
import { OPERATIONS } from './operation.ts'
import type { GrownStep, StepFailure } from './state.ts'
import type { TransitionDraft } from './transition-draft.ts'

/** A stuck saga moves again, in the direction it had. */
export function goOn(draft: TransitionDraft, index: number): void {
  if (draft.status !== 'stuck') return
  draft.status = OPERATIONS[draft.operation(index)].goesBack ? 'compensating' : 'running'
  if (draft.status === 'running') draft.failure = undefined
}

/** A step is finally over: begin the next. */
export function onward(draft: TransitionDraft, index: number): void {
  if (draft.cancel !== undefined) return void turnBack(draft, index, draft.cancel)
  const list = draft.listOf(index)
  if (draft.isScripted) follow(draft)
  for (const item of list === -1 ? [] : draft.itemsOf(list)) draft.begin(item, 'invoking')
  if (draft.open().length > 0 || draft.isScripted) parkSaga(draft)
  else forward(draft)
}

/** Begins the next step, or the next group of steps, or completes. What was reserved is confirmed first, when that is decided. */
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

/** The saga is decided: all that was reserved is confirmed, at the same time. One that hangs holds up no other. */
function confirmAll(draft: TransitionDraft): void {
  for (const [index, { status }] of draft.steps.entries()) {
    if (status === 'invoked' && draft.shapeOf(index).confirm !== undefined) draft.begin(index, 'confirming')
  }
}

/** A confirmation is over, or can get no further: on when all are, aside when an operator has to see to all that are left. */
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
 * Turns the saga back. All waits end, and waiting steps may have happened; but running local calls are allowed to return, so that nothing is
 * undone while it still runs.
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

/** An operator had ended it in the middle of a compensation: that one is called again, then those before it. */
export function undoFurther(draft: TransitionDraft, error: StepFailure): void {
  draft.failure ??= { step: '', ...error }
  draft.status = 'compensating'
  for (const open of draft.open()) draft.call(open, 1)
}

/** The step cannot be undone, or goes only forward unless another step turns the saga back. */
export function goesOnlyForward(draft: TransitionDraft, index: number): boolean {
  return draft.afterPivot(index) || (draft.shapeOf(index).forward === true && draft.cancel === undefined)
}

/** No more attempts. */
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

/** True when a step waits for an operator while others go on: they do not make him wait longer than they must. */
export function isHeldUp(draft: TransitionDraft): boolean {
  return draft.open().some((index) => draft.step(index).wait === 'operator')
}

/**
 * The saga is stuck when nothing is called any more and a step waits for an operator. What waits beside it for a time, a signal or
 * another saga may do so for days, or forever: the operator is not told only then, and it goes on waiting meanwhile.
 */
function parkSaga(draft: TransitionDraft): void {
  const open = draft.open()
  const first = open.find((index) => draft.step(index).wait === 'operator')
  if (first === undefined || open.some((index) => draft.isCalling(index))) return
  const { step, error } = draft.step(first)
  draft.failure ??= { step, code: 'saga.unknown', message: 'no failure recorded', ...error }
  draft.stick()
}

/** The participant answered that it waits for another process: the attempt does not count, and the next one waits no longer for its answer. */
export function askLater(draft: TransitionDraft, index: number, random: number): true {
  const { attempts, unanswered = 0, notYet = 0 } = draft.step(index)
  draft.set(index, { unanswered: unanswered + 1, notYet: notYet + 1, failedAttempt: attempts })
  draft.wait(index, 'retry', backoffDelayMs(draft.policy(index).backoff, unanswered + 1, random))
  return true
}

/** Adds branches that the state has lost. Their effects may be there: those that are not undone are called again under their names. */
export function addLost(draft: TransitionDraft, branches: readonly GrownStep[] = []): void {
  const there = new Set(draft.steps.map(({ step }) => step))
  for (const branch of branches) {
    if (there.has(branch.step)) continue
    draft.grow(branch)
    draft.set(draft.steps.length - 1, { doubt: true })
  }
}
