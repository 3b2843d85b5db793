import { hasMethods, wrongKind } from '../options.ts'
import type { SqlTransaction } from '../sql.ts'
import { joined, PROBE, probing } from './joined.ts'

/** The part of `TransactionSql` of `postgres` that is used. `savepoint` tells it from `Sql`, which has none. */
export interface PostgresJsTransaction {
  unsafe(text: string, parameters?: never[]): PromiseLike<unknown>
  typed(value: never, type: number): unknown
  savepoint(...values: never[]): unknown
}

/** "unknown": the server infers the type, and `postgres` writes the text as it is. It would make JSON of a text for `json`. */
const UNKNOWN = 705

/**
 * A transaction of `postgres` (porsager) as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await sql.begin(async (tx) => { await outbox.add(postgresTransaction(tx), orderPlaced, order) })
 *
 * After the transaction its statements reject with `SqlTransactionMissing`, for which the server is asked before each one: await them before the transaction ends.
 * @throws TypeError when it is no transaction
 */
export function postgresTransaction(tx: PostgresJsTransaction): SqlTransaction {
  if (!hasMethods(tx, ['unsafe', 'typed', 'savepoint']))
    throw wrongKind('postgresTransaction', tx, 'the transaction that sql.begin(async (tx) => ...) hands out')
  const asText = (value: unknown): unknown => (typeof value === 'string' ? tx.typed(value as never, UNKNOWN) : value)
  return joined(
    async (text, parameters) => tx.unsafe(text, parameters.map(asText) as never[]),
    probing(() => tx.unsafe(PROBE)),
  )
}
