/** Sagas whose steps a script decides one by one: what follows, how they end, and orders of operators. */

import { endSaga } from './end-saga.ts'
import type { OperatorAction } from './event.ts'
import type { TransitionDraft } from './transition-draft.ts'

/** Begins the steps that the script requests, or ends the saga as it says. */
export function follow(draft: TransitionDraft): void {
  const turn = draft.turn()
  if (turn === undefined) return
  if ('grow' in turn) {
    for (const step of turn.grow) draft.grow(step)
    return
  }
  draft.keep('outcome', 'outcome', { result: turn.result })
  const { code = 'saga.unknown', message = 'no failure recorded' } = turn.failure ?? {}
  draft.failure = { step: 'outcome', code, message }
  if (turn.end !== 'stuck') return void endSaga(draft, turn.end)
  draft.keep(turn.recovery, 'recovery', { status: 'invoking', wait: 'operator', error: { code, message } })
  draft.note(
    'stuck',
    draft.steps.findIndex(({ step }) => step === turn.recovery),
    { code, message },
  )
  draft.stick()
}

/** Operator orders for a script that has ended, or is stuck at an end. */
export type Order = Extract<OperatorAction['do'], 'retry' | 'skip' | 'compensate'>

export function isOrder(action: OperatorAction['do']): action is Order {
  return action === 'retry' || action === 'skip' || action === 'compensate'
}

/** Continues from an end of the script, as an operator orders. False: there is nothing to continue. */
export function order(draft: TransitionDraft, action: Order, note: Readonly<Record<string, string>>): boolean {
  const turn = draft.turn()
  if (turn === undefined || 'grow' in turn) return false
  if (turn.end === 'completed' && action !== 'compensate') return false
  draft.keep(turn.recovery, 'recovery', {
    status: 'invoked',
    wait: undefined,
    error: undefined,
    result: { do: action },
  })
  draft.note(
    `operator-${action}`,
    draft.steps.findIndex(({ step }) => step === turn.recovery),
    note,
  )
  draft.status = 'running'
  draft.failure = undefined
  follow(draft)
  return true
}
