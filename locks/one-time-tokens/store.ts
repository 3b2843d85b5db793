/** Contract of a token store; `createTokens` is built on it. `test/conformance/tokens.ts` in the repository tests it. */
import type { SqlTransaction } from '../../core/sql.ts'

/** How long a token that is over is remembered, so that the log can say `used` or `expired`. No promise depends on it. */
export const REMEMBERED_MS: number = 60 * 60 * 1_000

/** A token as it is kept. */
export interface TokenRecord {
  /** SHA-256 of purpose and token, in hex. The token itself is nowhere. */
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

/** Each call is one atomic step, and time is that of the server. */
export interface TokenStore {
  /** For errors, logs and metrics: `redis`, `memory`. */
  readonly name: string
  /** True: `put` and `take` may be given a transaction of its database, and commit with it. */
  readonly joinsTransactions: boolean
  /** Keeps a token. @returns when it expires, epoch ms */
  put(record: TokenRecord, tx?: SqlTransaction): Promise<number>
  /** Uses it up, if it is there, unused and not over; of several at once exactly one gets `taken`. Forgets the payload. */
  take(hash: string, tx?: SqlTransaction): Promise<TokenTaken>
  /** Idempotent, never rejects. */
  close(): Promise<void>
}
