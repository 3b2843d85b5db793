import type { SqlClient, SqlTransaction } from './sql.ts'

/**
 * A transaction that the server ends when its process does not go on with it: who waits for
 * its locks waits no longer than this. Where no other process can wait it is a transaction as any other.
 */
export function limitedTransaction<T>(
  sql: SqlClient,
  idleMs: number,
  work: (tx: SqlTransaction) => Promise<T>,
): Promise<T> {
  if (sql.exclusive !== undefined) return sql.transaction(work)
  const limits = { idleMs: Math.ceil(idleMs) }
  return sql.transaction(async (tx) => {
    if (tx.limits?.idleMs !== limits.idleMs)
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = ${limits.idleMs}`)
    return work(tx)
  }, limits)
}
