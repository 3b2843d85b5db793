import { ConcordatError } from '../../core/errors.ts'

/**
 * The token is not redeemed: it is unknown, used, or expired. The log and the metrics have the reason; the answer does not, so that it
 * never reveals whether a token existed.
 */
export class TokenRefused extends ConcordatError {
  readonly code = 'tokens.refused' as const
  readonly retryable = false as const
  readonly purpose: string

  constructor(purpose: string) {
    super(`this token is not valid for "${purpose}": issue a new one`)
    this.purpose = purpose
  }
}

/**
 * The store of tokens is unavailable, does not answer in time, or lacks the requested copies. The payload was not handed out.
 */
export class TokenStoreUnavailable extends ConcordatError {
  readonly code = 'tokens.store_unavailable' as const
  readonly retryable = true as const
  readonly store: string
  /** `unknown`: the token may be issued, or used up, all the same. */
  readonly outcome: 'not_done' | 'unknown'

  constructor(store: string, outcome: 'not_done' | 'unknown', detail: string, cause?: unknown) {
    super(
      `token store ${store} is unavailable: ${detail}. Check that it is up and reachable; if the token is refused then, issue a new one`,
      cause === undefined ? undefined : { cause },
    )
    this.store = store
    this.outcome = outcome
  }
}

/** The store answered and will answer the same again: wrong type under our key, missing permission, script error. */
export class TokenStoreRefused extends ConcordatError {
  readonly code = 'tokens.store_refused' as const
  readonly retryable = false as const
  readonly store: string

  constructor(store: string, cause: Error) {
    super(`token store ${store} refused: ${cause.message}. Check the prefix, the permissions and the server version`, {
      cause,
    })
    this.store = store
  }
}

/** Used after `close()`. */
export class TokensClosed extends ConcordatError {
  readonly code = 'tokens.closed' as const
  readonly retryable = false as const

  constructor() {
    super('tokens: expected open tokens, got tokens that are closed: make others with createTokens({ store })')
  }
}
