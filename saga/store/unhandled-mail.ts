/** Mail without effect, and the timeline entries about it. */
import type { TimelineEntry } from '../machine/event.ts'
import type { SagaStatus } from '../machine/state.ts'
import type { SagaMail, SagaRow } from './store-types.ts'

/**
 * Returns the timeline entry for an operator's action that did not apply; `undefined` for other mail.
 * @param why without NUL and half surrogate pairs
 */
export function refusalOf(mail: SagaMail, why: string): TimelineEntry | undefined {
  if (!('operator' in mail)) return undefined
  const { operator, by, reason, request } = mail
  return { kind: 'operator-refused', detail: { action: operator.do, by, reason, why, request } }
}

/**
 * Returns the mail that an ended saga still handles, and entries about the rest: a completed saga obeys only an order to undo.
 */
export function mailAtEnd(
  mail: SagaRow['mail'],
  status: SagaStatus,
): { readonly mail: SagaRow['mail']; readonly refusals: readonly TimelineEntry[] } {
  const kept = status === 'completed' ? (mail ?? []).filter((item) => 'undo' in item) : []
  const refusals = (mail ?? []).flatMap((item) => refusalOf(item, `it is ${status}`) ?? [])
  return { mail: kept.length === 0 ? null : kept, refusals }
}
