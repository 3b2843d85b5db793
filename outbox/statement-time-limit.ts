import type { Clock } from '../core/clock.ts'
import type { SqlClient } from '../core/sql.ts'
import { within } from '../core/time-limit.ts'

const NO_ANSWER = Symbol('no answer')

/** Waits for a response of the database, at most `timeoutMs`. The server may still execute the statement later. */
export async function limitedAnswer<T>(clock: Clock, timeoutMs: number, answer: Promise<T>): Promise<T> {
  const result = await within(clock, timeoutMs, answer, NO_ANSWER)
  if (result === NO_ANSWER) throw new Error(`PostgreSQL did not answer the outbox relay within ${timeoutMs} ms`)
  return result
}

/** A client whose statements and transactions reject after `timeoutMs`: the connection may have died without an error. */
export function limitedStatements(sql: SqlClient, clock: Clock, timeoutMs: number): SqlClient {
  return {
    exclusive: sql.exclusive,
    inMemory: sql.inMemory,
    isInTransaction: sql.isInTransaction,
    connections: sql.connections,
    query: (text, parameters) => limitedAnswer(clock, timeoutMs, sql.query(text, parameters)),
    transaction: (work, limits) => limitedAnswer(clock, timeoutMs, sql.transaction(work, limits)),
  }
}
