import { type ErrorClass, type ErrorOf, errorClass, reasonOf } from '../../core/define-error-class.ts'

/** Fields of a `TokenError`, by code. */
export interface TokenErrors {
  /**
   * The token is not redeemed: it is unknown, used, or expired. The log and the metrics have the reason; the error does not, so
   * that it never reveals whether a token existed.
   */
  'tokens.refused': { purpose: string }
  /**
   * The store of tokens is unavailable, does not answer in time, or lacks the requested copies. The payload was not returned.
   * `outcome` is `unknown` when the token may nevertheless be issued, or used up.
   */
  'tokens.store_unavailable': { store: string; outcome: 'not_done' | 'unknown'; detail: string }
  /** The store refused and would refuse again: wrong type under the key, missing permission, script error. */
  'tokens.store_refused': { store: string }
  /** Used after `close()`. */
  'tokens.closed': object
}

/** Error of one-time tokens. Its fields depend on its `code`: see `TokenErrors`. */
export type TokenError<Code extends keyof TokenErrors = keyof TokenErrors> = ErrorOf<TokenErrors, Code>

/** Error of one-time tokens. Its fields depend on its `code`: see `TokenErrors`. */
export const TokenError: ErrorClass<TokenErrors> = errorClass<TokenErrors>(
  'TokenError',
  {
    'tokens.refused': ({ purpose }) => `this token is not valid for "${purpose}": issue a new one`,
    'tokens.store_unavailable': ({ store, detail }) =>
      `token store ${store} is unavailable: ${detail}. Check that it is up and reachable; if the token is refused then, issue a new one`,
    'tokens.store_refused': ({ store }, cause) =>
      `token store ${store} refused: ${reasonOf(cause)}. Check the prefix, the permissions and the server version`,
    'tokens.closed':
      'tokens: expected open tokens, got tokens that are closed: make others with createTokens({ store })',
  },
  ['tokens.store_unavailable'],
)
