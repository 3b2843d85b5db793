/**
 * Participants over HTTP, and global transactions that cross it.
 *
 * @module
 */

export { bearer } from './guard-http-requests.ts'
export { type HttpTarget, httpTarget } from './http-target.ts'
export { httpParticipants } from './participants.ts'
export { transactionFetch, transactionMiddleware } from './propagate-transaction.ts'
