/** Operator actions on a saga that is stuck, or whose script has ended. */

import { isOrder, order } from './advance-scripted-saga.ts'
import { fitsPlan, skipPlan } from './dynamic-steps.ts'
import { endSaga } from './end-saga.ts'
import type { SagaEvent, SeenStuck, StuckAction } from './event.ts'
import { backward, confirmed, goOn, onward, turnBack } from './moves.ts'
import { actedOn } from './state.ts'
import type { TransitionDraft } from './transition-draft.ts'

/** Returns the timeline entry: operator, reason, and request. */
export function noteOf({ by, reason, request }: Extract<SagaEvent, { type: 'operator' }>): Record<string, string> {
  return { by, reason, ...(request !== undefined && { request }) }
}

/** False: the action does not fit the state. */
export function applyOperatorAction(
  draft: TransitionDraft,
  action: StuckAction,
  event: Extract<SagaEvent, { type: 'operator' }>,
): boolean {
  const { reason } = event
  const at = actedOn(draft.steps)
  const index = at === -1 ? undefined : at
  if (!isAsSeen(draft, index, action)) return false
  const isAtEnd = draft.isScripted && (index === undefined || draft.step(index).branch === 'recovery')
  if (isAtEnd && isOrder(action.do)) return order(draft, action.do, noteOf(event))
  if (draft.status !== 'stuck' || index === undefined) return false
  const invoking = draft.operation(index) === 'invoke'
  if (action.do === 'compensate' && (!invoking || draft.afterPivot(index))) return false
  if (action.do === 'skip' && !(invoking ? fitsPlan(draft, index, action.result) : action.result === undefined)) {
    return false
  }
  draft.note(`operator-${action.do}`, index, noteOf(event))
  switch (action.do) {
    case 'resolve':
      return endSaga(draft, action.outcome)
    case 'retry':
      goOn(draft, index)
      if (draft.cancel !== undefined) return turnBack(draft, index, draft.cancel)
      // Several open steps of a group, or confirmations, are all retried: retrying one would leave the saga stuck on the next.
      for (const parked of draft.open()) if (draft.step(parked).wait === 'operator') again(draft, parked)
      return true
    case 'compensate': {
      const error = draft.step(index).error ?? { code: 'saga.operator', message: reason }
      // The operator states that the pivot certainly did not happen; any other step is undone.
      draft.close(index, draft.shapeOf(index).pivot ? 'skipped' : draft.undoneAs(index))
      draft.failure = undefined
      return turnBack(draft, index, error)
    }
    case 'skip':
      goOn(draft, index)
      return skip(draft, index, action.result)
  }
}

/** Tells whether the saga is still stuck as the operator saw it: on this step, and not another time since. */
function isAsSeen(
  draft: TransitionDraft,
  index: number | undefined,
  { timesStuck, step, operation }: SeenStuck,
): boolean {
  if (timesStuck !== undefined && (draft.status !== 'stuck' || timesStuck !== draft.timesStuck)) return false
  if (index === undefined) return step === undefined && operation === undefined
  return (
    (step === undefined || step === draft.step(index).step) &&
    (operation === undefined || operation === draft.operation(index))
  )
}

function again(draft: TransitionDraft, index: number): void {
  if (draft.shapeOf(index).remote) draft.set(index, { round: (draft.step(index).round ?? 0) + 1 })
  draft.set(index, { unanswered: undefined, notYet: undefined, failedAttempt: undefined, orphans: undefined })
  draft.call(index, 1)
}

function skip(draft: TransitionDraft, index: number, result: unknown): true {
  const operation = draft.operation(index)
  const { compensates, confirm } = draft.shapeOf(index)
  // The operator states that the step is done, so it is undone, or confirmed, like any completed step.
  const isDone = (compensates || confirm !== undefined) && operation === 'invoke'
  const reserved = isDone && confirm !== undefined ? ({ reserved: true } as const) : {}
  draft.close(index, isDone ? 'invoked' : 'skipped', { ...reserved, ...(result !== undefined && { result }) })
  if (operation === 'invoke') {
    skipPlan(draft, index, result)
    onward(draft, index)
  }
  if (operation === 'confirm') confirmed(draft)
  if (operation === 'compensate') backward(draft)
  return true
}
