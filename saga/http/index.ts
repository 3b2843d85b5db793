/**
 * Participants over HTTP, and global transactions that cross it.
 *
 * @module
 */

export { httpParticipants } from './participants.ts'
export { transactionFetch, transactionMiddleware } from './propagating.ts'
export { bearer } from './serving.ts'
export { type HttpTarget, httpTarget } from './target.ts'
