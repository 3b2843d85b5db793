import { writeOutcome } from '../../core/write-fault.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, SettlingTransactions, Transport, TransportDelivery } from '../transport/transport.ts'

/** The transactions in which a transport moves letters; `undefined`: it has none. */
export function settlingTransactionsOf(owner: Transport): SettlingTransactions | undefined {
  return owner.publishIn === undefined ? undefined : owner.settlingIn?.()
}

/**
 * Both or neither: killed at any moment the letter is at one of the two places.
 * @param to where it goes: is made if it is missing
 * @param onUnanswered called when the commit has no answer: the letter may be there
 * @throws what the transport or the driver says
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
