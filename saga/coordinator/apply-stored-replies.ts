import type { EventApplier } from './event-applier.ts'
import { type LoadedSaga, withoutMail } from './loaded-saga.ts'
import { replyEvent } from './outcome-to-event.ts'

/**
 * Applies replies that instances without the definition stored in the row. Other mail is left for the instance that takes the
 * saga when it is due.
 * @returns the saga afterwards
 */
export async function applyStoredReplies(
  applier: EventApplier,
  found: LoadedSaga,
  { maxPayloadBytes, birth }: { readonly maxPayloadBytes: number; readonly birth: string | undefined },
): Promise<LoadedSaga> {
  let now = found
  for (const item of found.row.mail ?? []) {
    if (!('status' in item)) continue
    const event = await replyEvent(now.saga, item, maxPayloadBytes)
    const snapshot = withoutMail(now, [item])
    const applied = await applier.apply(found.row, event, { snapshot, birth: item.birth ?? birth, read: [item] })
    now = applied?.snapshot ?? now
  }
  return now
}
