import type { SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { DestinationSpec, TransportDelivery } from '../transport/transport.ts'

/** Identity of a message. */
export interface InboxMessage {
  readonly group: string
  readonly destination: string
  readonly source: string
  readonly id: string
  /** The delivery itself. An inbox may compare its body with that of an earlier message with the same id. */
  readonly delivery?: TransportDelivery | undefined
}

/** Describes a destination, which is created for its first message. */
export type SpecOf = (destination: string) => DestinationSpec

/** Writes outputs to the outbox of the same transaction. */
type Emit = (outputs: readonly EncodedMessage[], specOf?: SpecOf) => Promise<void>

/** A handler's call inside of the transaction. */
export type InboxWork = (tx: SqlTransaction, emit: Emit) => Promise<void>

/** Same as `InboxWork`, for a batch. @param fresh the indexes of those that were not processed before */
export type InboxBatchWork = (tx: SqlTransaction, fresh: readonly number[], emit: Emit) => Promise<void>

/** How `process` and `processBatch` come to a transaction. */
export interface InboxSharing {
  /** Same as the option of the binding: the server ends a transaction that gets no statement for twice as long. @default 30 seconds */
  readonly slowAfterMs?: number | undefined
  /**
   * The message may be processed in one transaction with others of its group and channel that are ready; each then stands
   * between savepoints. `work` may be called again, in a transaction of its own, after it was undone. @default false
   */
  readonly sharesTransactions?: boolean | undefined
}

/**
 * What a binding needs of an inbox, so that a handler's effect, its deduplication and its outputs commit together.
 * `concordat/outbox` implements it (`createInbox`).
 */
export interface Inbox {
  /** True when `emit` works: the inbox writes a handler's outputs to an outbox in the same transaction. */
  readonly hasOutbox: boolean
  /**
   * Asked before the binding takes messages. A rejection with `retryable: false` says that `process` could not work as
   * things are (no tables): the binder's `start` rejects with it; any other is tried again, like a broker that is away.
   */
  ready?(): Promise<void>
  /**
   * Calls `work` in one transaction unless the group has processed this message of this channel before. An id alone
   * does not name a message: senders choose their own, and CloudEvents makes them unique per `source` only. Resolves after the commit; a
   * rejection of `work` rolls everything back and is handed on.
   */
  process(message: InboxMessage, work: InboxWork, how?: InboxSharing): Promise<'processed' | 'duplicate'>
  /**
   * As `process`, for several messages of one group, each once in the list, in one transaction. `fresh` are the indexes of
   * those that the group has not processed before; `work` is called also when there are none. Needed for batch consumers.
   */
  processBatch?(messages: readonly InboxMessage[], work: InboxBatchWork, how?: InboxSharing): Promise<void>
}
