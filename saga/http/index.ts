/**
 * Participants over HTTP, and global transactions that cross it.
 *
 * @module
 */

export { type AskedCommand, type HttpParticipantsOptions, httpParticipants } from './participants.ts'
export { transactionFetch, transactionMiddleware } from './propagating.ts'
export { bearer, type HttpAsking, type HttpAuthorize } from './serving.ts'
export type { HttpCall, HttpHeaders, HttpSettings, HttpUrl } from './settings.ts'
export { type HttpTarget, type HttpTargetOptions, httpTarget } from './target.ts'
