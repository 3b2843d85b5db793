/** A transaction that also sends messages: passed to a service's work, saga steps and participants. */
import type { Channel } from '../binder/channel/channel.ts'
import type { SendOptions } from '../binder/channel/message-codec.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { OutboxError } from './errors.ts'

/** An open transaction that can also send. */
export interface SendingTransaction<Sent extends string = string> extends SqlTransaction {
  /**
   * Sends a message if and only if the transaction commits; a rollback to a savepoint also removes the messages sent since. Await
   * it. The channel must be in the service's `sends`. @throws the errors of `outbox.add`; `outbox.transaction_without_outbox`
   */
  send<In, Out>(
    channel: Channel<In, Out, Sent>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
}

/** Stores the messages of a transaction: an `Outbox`. */
export interface TransactionOutbox {
  /** Same as `Outbox.add`. */
  add<In, Out>(
    tx: SqlTransaction,
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
}

/**
 * The transaction with `send`.
 * @param outbox without `add`, each `send` rejects
 * @param remedy the option that takes an outbox: `createCoordinator({ outbox })`
 */
export function sendingThrough(
  outbox: Partial<TransactionOutbox> | undefined,
  tx: SqlTransaction,
  remedy: string,
): SendingTransaction {
  return {
    ...tx,
    send: async (channel, payload, options) => {
      if (outbox?.add === undefined)
        throw new OutboxError('outbox.transaction_without_outbox', { destination: channel.name, remedy })
      return outbox.add(tx, channel, payload, options)
    },
  }
}
