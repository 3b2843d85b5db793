import type { SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, TransportDelivery } from '../transport/transport.ts'

/** Identity of a message. */
export interface InboxMessage {
  readonly group: string
  readonly destination: string
  readonly source: string
  readonly id: string
  /** The delivery. An inbox may compare its body with that of an earlier message with the same id. */
  readonly delivery?: TransportDelivery | undefined
}

/** Describes a destination, which is created for its first message. */
export type SpecOf = (destination: string) => DestinationSpec

/** Writes outputs to the outbox of the same transaction. */
type Emit = (outputs: readonly EncodedMessage[], specOf?: SpecOf) => Promise<void>

/** A handler's call inside of the transaction. */
export type InboxWork = (tx: SqlTransaction, emit: Emit) => Promise<void>

/** `InboxWork` for a batch. @param fresh indexes of the messages that were not processed before */
export type InboxBatchWork = (tx: SqlTransaction, fresh: readonly number[], emit: Emit) => Promise<void>

/** Options for the transactions of `process` and `processBatch`. */
export interface InboxSharing {
  /**
   * Same as the option of the binding: the server ends a transaction that sends no statement for twice as long. @default 30
   * seconds
   */
  readonly slowAfterMs?: number | undefined
  /**
   * True: the message may be processed in one transaction with other ready messages of its group and channel, each between
   * savepoints. `work` may be called again, in its own transaction, after it was rolled back. @default false
   */
  readonly sharesTransactions?: boolean | undefined
}

/**
 * The inbox as bindings use it: a handler's effect, its deduplication and its outputs commit together. Implemented by
 * `createInbox` in `concordat/outbox`.
 */
export interface Inbox {
  /** True if `emit` works, because the inbox writes a handler's outputs to an outbox in the same transaction. */
  readonly hasOutbox: boolean
  /**
   * Called before the binding takes messages. If it rejects with `retryable: false`, `process` cannot work (missing tables), and
   * the binder's `start` rejects with the error; after any other error it is called again, as for an unavailable broker.
   */
  ready?(): Promise<void>
  /**
   * Calls `work` in one transaction unless the group has processed this message of this channel before. An id alone does not
   * identify a message: senders choose their ids, and CloudEvents ids are unique per `source` only. Resolves after the commit; if
   * `work` rejects, everything is rolled back and the error is rethrown.
   */
  process(message: InboxMessage, work: InboxWork, how?: InboxSharing): Promise<'processed' | 'duplicate'>
  /**
   * `process` for several distinct messages of one group, in one transaction. `fresh` has the indexes of messages that the group
   * has not processed before; `work` is called even if there are none. Needed for batch consumers.
   */
  processBatch?(messages: readonly InboxMessage[], work: InboxBatchWork, how?: InboxSharing): Promise<void>
}
