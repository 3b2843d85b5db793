/** Where a saga goes from here: on, back, to its end, or aside until an operator comes. What `machine.ts` answers events with. */
import type { Draft } from './draft.ts'
import type { StepFailure } from './state.ts'

/** A stuck saga moves again, in the direction it had. */
export function goOn(draft: Draft, index: number): void {
  if (draft.status !== 'stuck') return
  draft.status = draft.operation(index) === 'invoke' ? 'running' : 'compensating'
  if (draft.status === 'running') draft.failure = undefined
}

/** A step is over, for good: what comes next. */
export function onward(draft: Draft, index: number): void {
  if (draft.cancel !== undefined) turnBack(draft, index, draft.cancel)
  else if (draft.open().length === 0) forward(draft)
}

/** Begins the next step, or the next group of steps, or completes. */
export function forward(draft: Draft): void {
  while (draft.open().length === 0) {
    const next = draft.steps.findIndex(({ status }) => status === 'pending')
    if (next === -1) return void end(draft, 'completed')
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

/** Begins the next compensation, last step first, or ends. */
export function backward(draft: Draft): void {
  const next = draft.steps.findLastIndex(
    ({ status }, index) => (status === 'invoked' || status === 'unknown') && draft.shapeOf(index).compensates,
  )
  if (next === -1) end(draft, 'compensated')
  else draft.begin(next, 'compensating')
}

/**
 * There is no way on. Nobody waits any more, and what waited may have happened; but a local call that is in somebody's
 * hand is let return, so that nothing is undone while it still runs.
 * @param index of the step that said so, -1 before the first
 */
export function turnBack(draft: Draft, index: number, error: StepFailure): true {
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
export function undoFurther(draft: Draft, error: StepFailure): void {
  draft.failure ??= { step: '', ...error }
  draft.status = 'compensating'
  for (const open of draft.open()) draft.call(open, 1)
}

/** No more attempts. */
export function giveUp(draft: Draft, index: number, error: StepFailure): true {
  const { pivot, transactional } = draft.shapeOf(index)
  const invoking = draft.operation(index) === 'invoke'
  if (!invoking || draft.afterPivot(index) || (pivot && !transactional)) return park(draft, index, error)
  draft.close(index, draft.undoneAs(index), { error })
  return turnBack(draft, index, error)
}

export function park(draft: Draft, index: number, error: StepFailure): true {
  draft.wait(index, 'operator', undefined)
  draft.set(index, { error })
  draft.failure ??= { step: draft.step(index).step, ...error }
  draft.status = 'stuck'
  draft.note('stuck', index, { operation: draft.operation(index), code: error.code, message: error.message })
  return true
}

export function end(draft: Draft, status: 'completed' | 'compensated'): true {
  draft.status = status
  if (status === 'completed') draft.failure = undefined
  draft.note(status === 'completed' ? 'saga-completed' : 'saga-compensated')
  return true
}
