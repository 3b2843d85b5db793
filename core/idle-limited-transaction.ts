import { MINUTE } from './clock.ts'
import { throwFromOwnStatement } from './own-statements.ts'
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
 * How long a transaction in which handlers run may get no statement: a minute, or twice as long as its handler may take.
 * @param slowAfterMs of the binding, or the time limit of a step
 */
export function handlersIdleMs(slowAfterMs = 0): number {
  return Math.min(Math.max(1 * MINUTE, 2 * slowAfterMs), MAX_MS)
}

/**
 * Client for transactions in which handlers run. The server ends one that gets no statement for `handlersIdleMs`. Otherwise a process that
 * is frozen or disconnected would keep its messages from the member that has them now until the server learns from TCP that the connection
 * is gone. A prepared transaction has no session, and no limit.
 * @param slowAfterMs as of `handlersIdleMs`
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
