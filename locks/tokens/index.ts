/**
 * One-time tokens, redeemed once and only once: for links in mails, invitations, confirmations. Stores: `concordat/tokens/redis`,
 * `concordat/tokens/postgres`, and `concordat/tokens/memory` for tests.
 *
 * @module
 */
export { TokenError } from './errors.ts'
export type { TokenRecord, TokenStore } from './store.ts'
export { createTokens, type Tokens } from './tokens.ts'
