import { writeOutcome } from '../../core/write-fault.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, SettlingTransactions, Transport, TransportDelivery } from '../transport/transport.ts'

/** Returns the transactions in which a transport moves letters; `undefined`: it has none. */
export function settlingTransactionsOf(owner: Transport): SettlingTransactions | undefined {
  return owner.publishIn === undefined ? undefined : owner.settlingIn?.()
}

/**
 * Moves a letter in one transaction: after a kill at any moment it is at one of the two places.
 * @param to destination of the letter, created if it is missing
 * @param onUnanswered called when the commit has no answer: the letter may be at its destination
 * @throws errors of the transport or the driver
 */
export async function moveAtomically(
  transport: Pick<Transport, 'publishIn'>,
  settling: SettlingTransactions,
  from: TransportDelivery,
  by: readonly EncodedMessage[],
  to: DestinationSpec,
  onUnanswered: () => void,
): Promise<void> {
  let isCommitting = false
  try {
    await settling.sql.transaction(async (tx) => {
      await transport.publishIn?.(tx, by, () => to)
      await settling.settle(tx, [from])
      isCommitting = true
    })
  } catch (error) {
    if (isCommitting && writeOutcome(error) === 'unknown') onUnanswered()
    throw error
  }
}
