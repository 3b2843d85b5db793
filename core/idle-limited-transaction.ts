import { MINUTE } from './clock.ts'
import { throwFromOwnStatement } from './own-statements.ts'
import type { SqlClient, SqlTransaction, TransactionLimits } from './sql.ts'

/**
 * A transaction that the server ends if its process does not continue it, so that others do not wait longer than this for its
 * locks. In a database where no other process can wait, it is an ordinary transaction.
 */
export function limitedTransaction<T>(
  sql: SqlClient,
  idleMs: number,
  work: (tx: SqlTransaction) => Promise<T>,
  others?: TransactionLimits,
): Promise<T> {
  if (sql.exclusive !== undefined) return sql.transaction(work, others)
  const limits = { ...others, idleMs: Math.ceil(idleMs) }
  return sql.transaction(limitedWork(work, limits.idleMs), limits)
}

/** Limits for a client that sets none itself: the first statement of the work sets them. */
function limitedWork<T>(work: (tx: SqlTransaction) => Promise<T>, idleMs: number): (tx: SqlTransaction) => Promise<T> {
  return async (tx) => {
    if (tx.limits?.idleMs !== idleMs)
      await tx.query(`SET LOCAL idle_in_transaction_session_timeout = ${idleMs}`).catch(throwFromOwnStatement)
    return work(tx)
  }
}

const MAX_MS = 2 ** 31 - 1

/**
 * Maximum time without a statement in a transaction in which handlers run: a minute, or twice the allowed time of the handler.
 * @param slowAfterMs of the binding, or the time limit of a step
 */
export function handlersIdleMs(slowAfterMs = 0): number {
  return Math.min(Math.max(1 * MINUTE, 2 * slowAfterMs), MAX_MS)
}

/**
 * Client for transactions in which handlers run. The server ends a transaction that gets no statement for `handlersIdleMs`.
 * Otherwise a frozen or disconnected process would keep its messages from the member that now owns them, until TCP reports the
 * lost connection. A prepared transaction has no session, and no limit.
 * @param slowAfterMs as for `handlersIdleMs`
 */
export function handlersClient(sql: SqlClient, slowAfterMs?: number): SqlClient {
  const idleMs = handlersIdleMs(slowAfterMs)
  const { prepare } = sql
  return {
    exclusive: sql.exclusive,
    inMemory: sql.inMemory,
    isInTransaction: sql.isInTransaction,
    connections: sql.connections,
    query: (text, parameters) => sql.query(text, parameters),
    transaction: (work, limits) => limitedTransaction(sql, idleMs, work, limits),
    ...(prepare !== undefined && {
      prepare: (gid, work, limits) =>
        prepare.call(sql, gid, limitedWork(work, idleMs), { ...limits, idleMs }) as ReturnType<typeof work>,
    }),
  }
}
