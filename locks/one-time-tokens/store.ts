/** Contract of a token store for `createTokens`. `test/conformance/tokens.ts` in the repository tests it. */
import type { SqlTransaction } from '../../core/sql.ts'

/** How long an ended token is remembered, so that the log can say `used` or `expired`. No promise depends on it. */
export const REMEMBERED_MS: number = 60 * 60 * 1_000

/** A stored token. */
export interface TokenRecord {
  /** SHA-256 of purpose and token, in hex. The token itself is not stored. */
  readonly hash: string
  readonly purpose: string
  /** JSON. */
  readonly payload: string
  readonly ttlMs: number
}

/** Outcome of presenting a token. */
export type TokenTaken =
  | { readonly outcome: 'taken'; readonly payload: string }
  | { readonly outcome: 'unknown' | 'used' | 'expired' }

/** Store of tokens. Each call is one atomic step, and time is that of the server. */
export interface TokenStore {
  /** Name for errors, logs and metrics: `redis`, `memory`. */
  readonly name: string
  /** True: `put` and `take` accept a transaction of its database, and commit with it. */
  readonly joinsTransactions: boolean
  /** Stores a token. @returns its expiry, epoch ms */
  put(record: TokenRecord, tx?: SqlTransaction): Promise<number>
  /** Uses a token up, if it exists, unused and unexpired; of concurrent calls exactly one gets `taken`. Deletes the payload. */
  take(hash: string, tx?: SqlTransaction): Promise<TokenTaken>
  /** Idempotent, never rejects. */
  close(): Promise<void>
}
