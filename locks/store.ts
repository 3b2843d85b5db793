import type { ForcedRelease, ForceOptions, LockInfo, LockMode } from './lock.ts'

/**
 * Contract of a lock store; `createLocks` builds leases, renewal, waiting, sets and errors on it.
 *
 * Each call is one atomic step in the store. Calls settle within a limit that the store chooses (about a second): a rejection is
 * a `locks.store_unavailable` (`outcome` says whether the step may have happened) or a `locks.store_refused`.
 *
 * One rule of admission for all modes: no exclusive holder, fewer holders than the claim's `limit`, and no live waiter ahead. An
 * exclusive claim has the limit 1, a reader none (`Infinity`). Without `fifo` the last condition does not apply; waiters are
 * still stored, and shown by `inspect`. Time is the store's, never the contender's.
 */
export interface LockStore {
  /** For errors and health: `redis`, `memory`. */
  readonly name: string

  /**
   * Calls that need a missing feature fail with `locks.unsupported` before the store is called; without `fifo` waiters have no
   * order.
   */
  readonly features: LockFeatures

  /** Returns a new identity of one acquisition, with at least 128 random bits. It may contain the terms, for `inspect`. */
  newValue(terms: ClaimTerms): string

  /**
   * Grants the claim if the rule above allows it, otherwise returns the reason, and with `keepPlaceMs > 0` takes or refreshes its
   * place in the queue for that long. A repeated grant to a `value` that already holds succeeds with the same token. A `value`
   * given up by `abandon`, or ended by force, is never granted: such a call rejects with `locks.store_unavailable`, outcome
   * `not_done`. Remaining capacity wakes the next waiter.
   */
  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply>

  /** Sets the remaining time of the claim to `ttlMs` (and keeps the place for `lockDelayMs` more), if it holds. */
  extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld>

  /**
   * Frees the claim's lock; the next waiter is granted it (`handOver`) or woken. `forgetAfterMs > 0`: an earlier request for
   * `value` may still be under way, so refuse it for that long.
   */
  release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld>

  /**
   * Undoes all past and future effects of `acquire` for the claim: frees, leaves the queue, wakes the next, refuses late
   * requests.
   */
  abandon(claim: Claim, forgetAfterMs: number): Promise<void>

  /**
   * After the promise resolves, `onTurn` is called when it may be the turn of `value`, with the token if it was granted the lock.
   * Spurious calls are allowed, a lost one is covered by the waiter's heartbeat, and a call may come long after its event.
   * Returns a function that stops it.
   */
  listen(value: string, onTurn: (token?: number) => void): Promise<() => void>

  inspect(key: string): Promise<LockInfo | undefined>

  /** Operator actions, or the reason why there are none. */
  readonly operator: LockOperator | { readonly missing: string }

  /**
   * Calls `listener` when held locks must be verified: all (`undefined`) after a reconnect, because the store may have forgotten
   * them; one when the store reports that its value was ended by force.
   */
  onDoubt(listener: (value: string | undefined) => void): void

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined }

  /** Idempotent, never rejects. */
  close(): Promise<void>
}

/** `true`, or the reason why this store lacks the feature. */
export type LockFeature = true | { readonly missing: string }

/** Features of the store. The conformance suite tests those that are `true`; the others have a reason. */
export interface LockFeatures {
  /** First come, first served, woken by the release. Missing: waiters repeat their request after `retryAfterMs`, in no order. */
  readonly fifo: LockFeature
  /** `mode: 'shared'` and `permits`. */
  readonly shared: LockFeature
  /** `lockDelayMs`. */
  readonly lockDelay: LockFeature
}

/** Operator actions on locks. */
export interface LockOperator {
  /** Lists held keys, at most `limit`. */
  list(options: ListRequest): Promise<readonly LockInfo[]>
  /**
   * Ends all leases of the key, or none: with `tokens`, only if each of them is listed, compared in the same step.
   * @param tokenFloor minimum of the returned token, which is also above every granted one
   */
  forceRelease(
    key: string,
    options: ForceOptions,
    tokenFloor: number,
    tokens?: readonly number[],
  ): Promise<ForcedRelease | HolderChanged>
  audit(key: string): Promise<readonly ForcedRelease[]>
}

/** A forced release that changed nothing: owners of the leases whose token was not listed. */
export interface HolderChanged {
  readonly others: readonly string[]
}

/** Selection of keys for `list`. */
export interface ListRequest {
  readonly limit: number
  readonly prefix: string
  readonly signal: AbortSignal | undefined
}

/** Terms of a claim for a key. */
export interface ClaimTerms {
  readonly owner: string
  readonly mode: LockMode
  /** How many may hold the key at the same time, including this one: 1 exclusive, n permits, `Infinity` for a reader. */
  readonly limit: number
  readonly lockDelayMs: number
}

/** An acquisition, from its first try to the end of its lease. */
export interface Claim extends ClaimTerms {
  readonly key: string
  readonly value: string
}

/** A try to acquire a key. */
export interface AcquireRequest {
  readonly ttlMs: number
  /**
   * The granted token is max(last + 1, the store's time in microseconds, tokenFloor + 1): rising over all grants of the key, even
   * if the store lost its counter, or its clock was set back.
   */
  readonly tokenFloor: number
  readonly keepPlaceMs: number
  /** True: the caller queues next if it is not granted, so a refusal needs no reason. */
  readonly thenWaits?: boolean | undefined
  /**
   * For an exclusive claim with a place: a release may grant it the lock without another request, for `ttlMs` from then, and
   * notifies its listener; a repeated request succeeds as for any holder. Optional for a store.
   */
  readonly handOver?: boolean | undefined
}

/** Outcome of a try to acquire a key. */
export type AcquireReply =
  | { readonly status: 'granted'; readonly token: number }
  | {
      readonly status: 'busy'
      /** When the claim may get the lock if nothing else happens; without `fifo`: when to request again. */
      readonly retryAfterMs: number
      /** Place in the queue, 0 = next; `undefined` if it has none. */
      readonly position: number | undefined
      /** Owner of the blocking claim. */
      readonly owner: string | undefined
      /**
       * The last granted token: a hand-over with a higher one happened after this refusal. Absent: the store does not hand over.
       */
      readonly lastToken?: number | undefined
      /** Something of the claim may remain, such as the vote of one server of many: `abandon` it. */
      readonly leftTrace?: boolean | undefined
    }

/** The claim does not hold the lock (any longer); `forced` when the store knows that an operator ended it. */
export type NotHeld = 'lost' | { readonly forced: ForceOptions }
