/**
 * An inbox without ids: a message counts as handled because its position is committed with its handler's transaction. Valid only
 * if the log contains each message once and no instance of the group uses an inbox with ids, which commits the effect first.
 */
import type { Clock } from '../../core/clock.ts'
import type { Timed } from '../../core/sharing/open-transaction.ts'
import { SharedTransactions } from '../../core/sharing/shared-transactions.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { Inbox, InboxMessage, InboxSharing, InboxWork } from '../bindings/inbox.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { SettlingTransactions, TransportDelivery } from '../transport/transport.ts'
import { originalOf } from './failure/retry-destination.ts'

/** Writes messages to the log with the group's position, in the same transaction. */
type PublishIn = (tx: SqlTransaction, messages: readonly EncodedMessage[]) => Promise<void>

interface SharedDelivery {
  readonly delivery: TransportDelivery
  /** Outputs of its last call; written with those of the others. */
  outputs: readonly EncodedMessage[]
}

export class PositionInbox implements Inbox {
  readonly hasOutbox = true
  readonly settling: SettlingTransactions
  readonly #publishIn: PublishIn
  readonly #shared: SharedTransactions<SharedDelivery>

  constructor(settling: SettlingTransactions, publishIn: PublishIn, clock: Clock) {
    this.settling = settling
    this.#publishIn = publishIn
    this.#shared = new SharedTransactions<SharedDelivery>(settling.sql, clock, {
      close: (tx, done) =>
        this.#end(
          tx,
          done.map(({ delivery }) => delivery),
          done.flatMap(({ outputs }) => outputs),
        ),
    })
  }

  async process(message: InboxMessage, work: InboxWork, how?: InboxSharing): Promise<'processed'> {
    const { delivery } = message
    if (delivery === undefined) throw new TypeError('a place is written for a delivery')
    const item: SharedDelivery = { delivery, outputs: [] }
    const call = async (tx: SqlTransaction): Promise<void> => {
      item.outputs = []
      await work(tx, async (outputs) => void (item.outputs = [...item.outputs, ...outputs]))
    }
    const alone = (timed: Timed): Promise<void> =>
      this.settling.sql.transaction(async (tx) => {
        await timed(() => call(tx))
        await this.#end(tx, [delivery], item.outputs)
      })
    if (how?.sharesTransactions === true) await this.#shared.run(item, alone, call)
    else await alone((run) => run())
    return 'processed'
  }

  /** Sends these messages and settles the delivery, both or neither: they replace it as a copy or a dead letter. */
  move(delivery: TransportDelivery, messages: readonly EncodedMessage[]): Promise<void> {
    return this.settling.sql.transaction((tx) => this.#end(tx, [delivery], messages))
  }

  async #end(
    tx: SqlTransaction,
    deliveries: readonly TransportDelivery[],
    outputs: readonly EncodedMessage[],
  ): Promise<void> {
    if (outputs.length > 0) await this.#publishIn(tx, outputs)
    await this.settling.settle(tx, deliveries.map(originalOf))
  }
}

/** Returns the inbox of a binding that settles in its handlers' transactions. */
export function positionInboxOf(inbox: Inbox | undefined): PositionInbox | undefined {
  return inbox instanceof PositionInbox ? inbox : undefined
}
