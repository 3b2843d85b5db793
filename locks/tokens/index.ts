/**
 * One-time tokens, redeemed once and only once: for links in mails, invitations, confirmations. Stores: `concordat/tokens/redis`,
 * `concordat/tokens/postgres`, and `concordat/tokens/memory` for tests.
 *
 * @module
 */
export { TokenError, type TokenErrors } from './errors.ts'
export type { TokenRecord, TokenStore, TokenTaken } from './store.ts'
export { createTokens, type TokenCallOptions, type Tokens, type TokensOptions } from './tokens.ts'
