/** What a participant needs of the outbox. */
import type { Channel } from '../../binder/channel/channel.ts'
import type { SendOptions } from '../../binder/channel/encode.ts'
import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Place } from '../../binder/sending/destinations.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { TransactionOutbox } from '../../outbox/sending-transaction.ts'

/** What a participant needs of the outbox. With the last two the answers of commands that share a transaction are one statement. */
export interface ReplyOutbox extends TransactionOutbox {
  /** As `Outbox.ready`. */
  ready?(): Promise<void>
  /** As `Outbox.encode`. */
  encode?<In, Out>(channel: Channel<In, Out>, payload: In, options?: SendOptions): Promise<EncodedMessage>
  /** As `Outbox.addEncoded`. */
  addEncoded?(tx: SqlTransaction, messages: readonly EncodedMessage[], channel?: Place): Promise<void>
}
