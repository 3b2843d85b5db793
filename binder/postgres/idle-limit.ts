import type { SqlClient, SqlTransaction } from '../../core/sql.ts'

/**
 * A transaction that the server ends when its process does not go on with it: another member waits no longer than for a
 * lease. Where no other process can wait it is a transaction as any other.
 */
export function limitedTransaction<T>(
  sql: SqlClient,
  leaseMs: number,
  work: (tx: SqlTransaction) => Promise<T>,
): Promise<T> {
  if (sql.exclusive !== undefined) return sql.transaction(work)
  const limits = { idleMs: Math.ceil(leaseMs) }
  return sql.transaction(async (tx) => {
    if (tx.limits?.idleMs !== limits.idleMs)
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = ${limits.idleMs}`)
    return work(tx)
  }, limits)
}
