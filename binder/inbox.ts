import type { SqlTransaction } from '../core/sql.ts'
import type { EncodedMessage } from './message.ts'

/**
 * What a binding needs of an inbox, so that a handler's effect, its deduplication and its outputs commit together.
 * `concordat/outbox` implements it (`createInbox`).
 */
export interface Inbox {
  /** True when `emit` works: the inbox writes a handler's outputs to an outbox in the same transaction. */
  readonly hasOutbox: boolean
  /**
   * Calls `work` in one transaction unless (group, message id) was processed before. Resolves after the commit; a
   * rejection of `work` rolls everything back and is handed on.
   */
  process(
    message: { readonly id: string; readonly group: string; readonly destination: string },
    work: (tx: SqlTransaction, emit: (outputs: readonly EncodedMessage[]) => Promise<void>) => Promise<void>,
  ): Promise<'processed' | 'duplicate'>
}
