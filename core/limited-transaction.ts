import { MINUTE } from './clock.ts'
import type { SqlClient, SqlTransaction, TransactionLimits } from './sql.ts'

/**
 * A transaction that the server ends when its process does not go on with it: who waits for
 * its locks waits no longer than this. Where no other process can wait it is a transaction as any other.
 */
export function limitedTransaction<T>(
  sql: SqlClient,
  idleMs: number,
  work: (tx: SqlTransaction) => Promise<T>,
  others?: TransactionLimits,
): Promise<T> {
  if (sql.exclusive !== undefined) return sql.transaction(work, others)
  const limits = { ...others, idleMs: Math.ceil(idleMs) }
  return sql.transaction(async (tx) => {
    if (tx.limits?.idleMs !== limits.idleMs)
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = ${limits.idleMs}`)
    return work(tx)
  }, limits)
}

const MAX_MS = 2 ** 31 - 1

/**
 * The client for transactions in which handlers run. The server ends one that gets no statement for a minute, or for twice as long as its
 * handler may take: else a process that is frozen or cut off in the middle keeps its messages from the member that has them now, until the
 * server learns from TCP that the connection is gone.
 * @param slowAfterMs of the binding, or the time limit of a step
 */
export function handlersClient(sql: SqlClient, slowAfterMs = 0): SqlClient {
  const idleMs = Math.min(Math.max(1 * MINUTE, 2 * slowAfterMs), MAX_MS)
  return {
    exclusive: sql.exclusive,
    inMemory: sql.inMemory,
    isInTransaction: sql.isInTransaction,
    connections: sql.connections,
    query: (text, parameters) => sql.query(text, parameters),
    transaction: (work, limits) => limitedTransaction(sql, idleMs, work, limits),
    ...(sql.prepare !== undefined && { prepare: sql.prepare }),
  }
}
