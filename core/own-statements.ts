/**
 * Statements that this package sends for itself: `BEGIN`, `COMMIT`, and those on its own tables. Their duration depends on the
 * server and on other transactions. If the driver or the server gives one up, for example because commits wait for a synchronous
 * standby, or an inbox for the transaction of a frozen process, this says nothing about the message or the command that it was sent
 * for. A handler's own statement may be slow by itself, and so may the statements waiting behind it on the same connection.
 */
import { causesOf } from './errors.ts'
import { fieldOf, messageOf } from './thrown-values.ts'

/** Error of `pg` when the pool's `query_timeout` is over. It has no code. */
const GIVEN_UP = 'Query read timeout'

/** query_canceled: the server's `statement_timeout`. */
const CANCELED = '57014'
/** The server's `transaction_timeout`, which also ends the connection. */
const TRANSACTION_OVER = '25P04'
/** Messages of `pg` for a connection that ended before the statement: the server's reason concerns what ran until then. */
const ENDED_BEFORE = /^(Client has encountered a connection error|Connection terminated|Client was closed)/
/** lock_not_available: the server's `lock_timeout`. */
const LOCK_NOT_FREE = '55P03'

const unanswered = new WeakSet<object>()

/** Marks the error of an own statement, so that a statement without a response counts as a lost connection. @returns the error */
export function fromOwnStatement(error: unknown): unknown {
  for (const cause of causesOf(error)) {
    const message = messageOf(cause) ?? ''
    if (ENDED_BEFORE.test(message)) return error
    const code = fieldOf(cause, 'code')
    if (message === GIVEN_UP || code === CANCELED || code === TRANSACTION_OVER) unanswered.add(cause)
  }
  return error
}

/** True if the driver gave up a handler's statement with this error. Never throws. */
export function isGivenUpByHandler(error: unknown): boolean {
  return causesOf(error).some((cause) => messageOf(cause) === GIVEN_UP && !unanswered.has(cause))
}

/** Same as `fromOwnStatement`, for the `catch` of a promise. */
export function throwFromOwnStatement(error: unknown): never {
  throw fromOwnStatement(error)
}

/**
 * Same for a statement that waits for another delivery of the same message: it may wait as long as the process of that one is
 * frozen, so `lock_timeout` ends it in vain, too. Any other own statement meets the transaction of something else.
 */
export function throwFromOwnWait(error: unknown): never {
  for (const cause of causesOf(error)) if (fieldOf(cause, 'code') === LOCK_NOT_FREE) unanswered.add(cause)
  return throwFromOwnStatement(error)
}

/** True if the driver or the server gave up an own statement with this error. Never throws. */
export function isUnansweredOwnStatement(error: object): boolean {
  return unanswered.has(error)
}
