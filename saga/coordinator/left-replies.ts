import type { Engine } from './engine.ts'
import { replyEvent } from './outcome.ts'
import { type Snapshot, withoutMail } from './snapshot.ts'

/**
 * Applies the answers that instances without the definition left in the row. Other mail is for the instance that takes the saga when it is
 * due.
 * @returns the saga after that
 */
export async function applyLeftReplies(
  engine: Engine,
  found: Snapshot,
  { maxPayloadBytes, birth }: { readonly maxPayloadBytes: number; readonly birth: string | undefined },
): Promise<Snapshot> {
  let now = found
  for (const item of found.row.mail ?? []) {
    if (!('status' in item)) continue
    const event = await replyEvent(now.saga, item, maxPayloadBytes)
    const snapshot = withoutMail(now, [item])
    const applied = await engine.apply(found.row, event, { snapshot, birth: item.birth ?? birth, read: [item] })
    now = applied?.snapshot ?? now
  }
  return now
}
