import { createHash } from 'node:crypto'
import { sourceOf } from '../channel/deduplication.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, SettlingTransactions, Transport, TransportDelivery } from '../transport/transport.ts'

/** The transactions in which a transport moves letters; `undefined`: it has none. */
export function settlingOf(owner: Transport): SettlingTransactions | undefined {
  return owner.publishIn === undefined ? undefined : owner.settlingIn?.()
}

/**
 * Both or neither: killed at any moment the letter is at one of the two places.
 * @param to where it goes: is made if it is missing
 * @throws what the transport or the driver says
 */
export function replaceBy(
  transport: Pick<Transport, 'publishIn'>,
  settling: SettlingTransactions,
  from: TransportDelivery,
  by: readonly EncodedMessage[],
  to: DestinationSpec,
): Promise<void> {
  return settling.sql.transaction(async (tx) => {
    await transport.publishIn?.(tx, by, () => to)
    await settling.settle(tx, [from])
  })
}

/**
 * The same for copies only: a sender may use an id for several messages, and none of those is a copy of another.
 * @param message as it goes back: another failure of it makes no other message, unless it is a dead letter there, too
 */
export function nameOf(message: EncodedMessage): string {
  const { id, key, body } = message
  const said = createHash('sha256').update(body ?? '')
  return JSON.stringify([sourceOf(message), id, key, body === null, said.digest('base64')])
}
