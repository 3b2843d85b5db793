import { setTimeout as pause } from 'node:timers/promises'
import { joinedTransaction } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import { type SqlTransaction } from '../sql.ts'
import { SqlError } from '../sql-error.ts'

/** The part of `TransactionSql` of `postgres` that is used. `savepoint` distinguishes it from `Sql`, which has none. */
export interface PostgresJsTransaction {
  unsafe(text: string, parameters?: never[], options?: never): PromiseLike<unknown>
  typed(value: never, type: number): unknown
  savepoint(...values: never[]): unknown
}

/**
 * "unknown": the server infers the type, and `postgres` writes the text unchanged. For `json` it would otherwise encode a text as
 * JSON.
 */
const UNKNOWN = 705

/**
 * A transaction of `postgres` (porsager) as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await sql.begin(async (tx) => { await outbox.add(postgresTransaction(tx), orderPlaced, order) })
 *
 * Create it at the start of the callback. It is bound to that transaction: after its end, statements are not run and reject with
 * `core.sql_transaction_ended`, or with `core.sql_transaction_missing` if they are queued behind a ROLLBACK.
 * @throws TypeError if it is not a transaction
 */
export function postgresTransaction(tx: PostgresJsTransaction): SqlTransaction {
  if (!isPostgresJs(tx))
    throw wrongKind('postgresTransaction', tx, 'the transaction that sql.begin(async (tx) => ...) hands out')
  const asText = (value: unknown): unknown => (typeof value === 'string' ? tx.typed(value as never, UNKNOWN) : value)
  const reservation = new Reservation()
  return joinedTransaction(
    (text, parameters) =>
      reservation.settled(() =>
        parameters.length > 0
          ? tx.unsafe(text, parameters.map(asText) as never[])
          : tx.unsafe(text, [], { onexecute: reservation.seen } as never),
      ),
    { of: tx, requireOpen: () => reservation.requireHeld() },
  )
}

export function isPostgresJs(value: unknown): value is PostgresJsTransaction {
  return hasMethods(value, ['unsafe', 'typed', 'savepoint'])
}

/** A connection of `postgres`: while a transaction uses it, `reserved` is that transaction's own function. */
interface Connection {
  readonly reserved?: unknown
}

/** A query of `postgres`: it has a `state` once it is sent. */
interface Sent {
  readonly state?: unknown
}

/**
 * Detects the end of a transaction. `postgres` would run a late statement on the connection anyway, or put it into a queue that
 * no connection reads any longer, where it would wait forever.
 */
class Reservation {
  #connection: Connection | undefined
  #reserved: unknown

  /** `postgres` calls it when it sends the statement, and continues unchanged if it returns true. */
  readonly seen = (connection: Connection): true => {
    // The connection is reserved in the turn in which BEGIN is sent, before any statement of the transaction.
    this.#reserved ??= connection.reserved
    this.#connection ??= connection
    return true
  }

  /** @throws `core.sql_transaction_ended` */
  requireHeld(): void {
    if (this.#isOver()) throw new SqlError('core.sql_transaction_ended')
  }

  /** Rejects with `core.sql_transaction_ended` if the transaction has ended before the statement was sent. */
  settled(send: () => PromiseLike<unknown>): Promise<unknown> {
    const query = send()
    const answered = Promise.resolve(query)
    // The first `then` sends it, or queues it.
    return Promise.race([answered, this.#overBeforeSent(query as Sent, answered)])
  }

  async #overBeforeSent(query: Sent, answered: Promise<unknown>): Promise<unknown> {
    let isAnswered = false
    const answer = (): void => void (isAnswered = true)
    answered.then(answer, answer)
    await new Promise(setImmediate)
    while (query.state === null && !isAnswered) {
      if (this.#isOver()) throw new SqlError('core.sql_transaction_ended')
      await pause(LOOK_EVERY_MS)
    }
    return answered
  }

  #isOver(): boolean {
    return this.#connection !== undefined && this.#connection.reserved !== this.#reserved
  }
}

const LOOK_EVERY_MS = 5
