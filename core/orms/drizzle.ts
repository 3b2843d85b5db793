import { hasMethods, wrongKind } from '../options.ts'
import type { SqlTransaction } from '../sql.ts'
import { joined, PROBE, probing } from './joined.ts'

/** The part of a transaction of Drizzle that is used. `rollback` tells it from the database, which has none. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>
  rollback(): never
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
 * After the transaction its statements reject with `SqlTransactionMissing`, for which the server is asked before each one: await them before the transaction ends.
 * @param sql of `drizzle-orm`
 * @throws TypeError when it is no transaction
 */
export function drizzleTransaction(tx: DrizzleTransaction, sql: DrizzleSql): SqlTransaction {
  if (!hasMethods(tx, ['execute', 'rollback']))
    throw wrongKind('drizzleTransaction', tx, 'the transaction that db.transaction(async (tx) => ...) hands out')
  if (!hasMethods(sql, ['raw', 'param', 'join']))
    throw wrongKind('drizzleTransaction.sql', sql, "the `sql` of drizzle-orm: import { sql } from 'drizzle-orm'")
  const execute = (query: unknown): PromiseLike<unknown> => tx.execute(query as never)
  return joined(
    async (text, parameters) => execute(sql.join(chunksOf(text, parameters, sql) as never[])),
    probing(() => execute(sql.raw(PROBE))),
  )
}

/** Drizzle numbers the parameters itself. */
function chunksOf(text: string, parameters: readonly unknown[], sql: DrizzleSql): unknown[] {
  return text
    .split(/\$(\d+)/)
    .map((piece, index) => (index % 2 === 0 ? sql.raw(piece) : sql.param(parameters[Number(piece) - 1])))
}
