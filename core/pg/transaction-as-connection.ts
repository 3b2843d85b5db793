/** Passes one of our transactions to libraries that take a connection of `pg`. */
import { invalidOption, toError } from '../errors.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'
import { controlsTransaction } from '../transaction-control.ts'

/** A statement in the form in which libraries pass it to `pg`. */
type Statement = string | { readonly text: string; readonly values?: readonly unknown[] | undefined }
type Callback = (error: Error | null, result?: unknown) => void

/**
 * The transaction of a handler, or of `sql.transaction`, as a connection of `pg` for Drizzle, Kysely and Knex: their changes
 * commit and roll back with the transaction.
 *
 *     sink(orderPlaced, { group: 'stock', once: true }, async (order, { tx }) => {
 *       await drizzle(pgConnection<PoolClient>(tx)).update(stock).set({ ... })
 *     })
 *
 * A BEGIN or COMMIT of the library, a cursor or a stream rejects with a TypeError, and a statement after the end with
 * `core.sql_transaction_ended`.
 * @typeParam Client the type that the library requires, such as `PoolClient` of `pg`
 * @throws TypeError if it is not a transaction of `pgClient(pool)`
 */
export function pgConnection<Client = TransactionConnection>(tx: SqlTransaction): Client {
  if (!hasMethods(tx, ['query', 'native']))
    throw wrongKind('pgConnection', tx, 'the `tx` of a transaction on pgClient(pool)')
  return new TransactionConnection(tx) as Client
}

/** The part of a connection of `pg` that libraries use inside of a transaction. */
export class TransactionConnection {
  readonly #tx: SqlTransaction

  /** @param tx with `native` */
  constructor(tx: SqlTransaction) {
    this.#tx = tx
  }

  /** Same as `query` of `pg`, with a promise or a callback. */
  query(
    statement: Statement,
    values?: readonly unknown[] | Callback,
    callback?: Callback,
  ): Promise<unknown> | undefined {
    const then = typeof values === 'function' ? values : callback
    const given = typeof values === 'function' ? undefined : values
    const asked = typeof statement === 'string' ? { text: statement } : statement
    const result = this.#run(given === undefined ? asked : { ...asked, values: given })
    if (then === undefined) return result
    result.then(
      (found) => then(null, found),
      (error: unknown) => then(toError(error)),
    )
    return undefined
  }

  /** Does nothing: the connection is released with the transaction. */
  release(): void {}

  async #run(statement: Exclude<Statement, string>): Promise<unknown> {
    if (hasMethods(statement, ['submit']))
      throw wrongKind(
        'pgConnection.query',
        statement,
        'a text, or { text, values }: a cursor or a stream would keep the connection when the transaction ends',
      )
    if (controlsTransaction(statement.text))
      throw invalidOption(
        'pgConnection.query',
        statement.text,
        'no BEGIN and no COMMIT: this transaction is open, and ends with its owner',
      )
    return this.#tx.native?.(statement.text, statement)
  }
}
