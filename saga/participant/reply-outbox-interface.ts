/** The part of an outbox that participants use. */
import type { Channel } from '../../binder/channel/channel.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { SendOptions } from '../../binder/channel/message-codec.ts'
import type { SendDestination } from '../../binder/sending/destination-provisioning.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { TransactionOutbox } from '../../outbox/transaction-with-send.ts'

/** Outbox of a participant. With the last two members, replies to commands that share a transaction need one statement. */
export interface ReplyOutbox extends TransactionOutbox {
  /** Same as `Outbox.ready`. */
  ready?(): Promise<void>
  /** Same as `Outbox.encode`. */
  encode?<In, Out>(channel: Channel<In, Out>, payload: In, options?: SendOptions): Promise<EncodedMessage>
  /** Same as `Outbox.addEncoded`. */
  addEncoded?(tx: SqlTransaction, messages: readonly EncodedMessage[], channel?: SendDestination): Promise<void>
}
