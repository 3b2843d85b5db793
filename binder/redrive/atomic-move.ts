import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, SettlingTransactions, Transport, TransportDelivery } from '../transport/transport.ts'

/** The transactions in which a transport moves letters; `undefined`: it has none. */
export function settlingTransactionsOf(owner: Transport): SettlingTransactions | undefined {
  return owner.publishIn === undefined ? undefined : owner.settlingIn?.()
}

/**
 * Both or neither: killed at any moment the letter is at one of the two places.
 * @param to where it goes: is made if it is missing
 * @throws what the transport or the driver says
 */
export function moveAtomically(
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
