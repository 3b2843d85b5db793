import { joinedTransaction } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'
import { isPostgresJs, postgresTransaction } from './postgres-js.ts'

/** The part of a Drizzle transaction that is used. `rollback` distinguishes it from the database, which has none. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>
  rollback(): never
  /** Contains the driver's own transaction. */
  readonly session?: unknown
}

/** The part of `sql` of `drizzle-orm` that is used. */
export interface DrizzleSql {
  raw(text: string): unknown
  param(value: unknown): unknown
  join(chunks: never[]): unknown
}

/**
 * A transaction of Drizzle over `pg` or `postgres` as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await db.transaction(async (tx) => { await outbox.add(drizzleTransaction(tx, sql), orderPlaced, order) })
 *
 * Create it at the start of the callback, before the first `await` of anything else. It is bound to that transaction: after its
 * end, statements are not run and reject with `core.sql_transaction_missing`, over `postgres` with `core.sql_transaction_ended`.
 * @param sql of `drizzle-orm`
 * @throws TypeError if it is not a transaction
 */
export function drizzleTransaction(tx: DrizzleTransaction, sql: DrizzleSql): SqlTransaction {
  if (!hasMethods(tx, ['execute', 'rollback']))
    throw wrongKind('drizzleTransaction', tx, 'the transaction that db.transaction(async (tx) => ...) hands out')
  if (!hasMethods(sql, ['raw', 'param', 'join']))
    throw wrongKind('drizzleTransaction.sql', sql, "the `sql` of drizzle-orm: import { sql } from 'drizzle-orm'")
  const client = (tx.session as { readonly client?: unknown } | undefined)?.client
  if (isPostgresJs(client)) return postgresTransaction(client)
  return joinedTransaction(
    async (text, parameters) => tx.execute(sql.join(chunksOf(text, parameters, sql) as never[]) as never),
    { of: tx },
  )
}

/** Drizzle numbers the parameters itself. */
function chunksOf(text: string, parameters: readonly unknown[], sql: DrizzleSql): unknown[] {
  return text
    .split(/\$(\d+)/)
    .map((piece, index) => (index % 2 === 0 ? sql.raw(piece) : sql.param(parameters[Number(piece) - 1])))
}
