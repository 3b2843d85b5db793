import type { ForcedRelease, ForceOptions, LockInfo, LockMode } from './lock.ts'

/**
 * Contract of a lock store; `createLocks` builds leases, renewal, waiting, sets and errors on it.
 *
 * Each call is one atomic step in the store. Calls settle within a bound the store chooses (about a second): a rejection is a
 * `locks.store_unavailable` (`outcome` says whether the step can have happened) or a `locks.store_refused`.
 *
 * One rule of admission for all modes: no exclusive holder, fewer holders than the claim's `limit`, and no live waiter ahead. An exclusive
 * claim has the limit 1, a reader none (`Infinity`). Without `fifo` the last condition falls away; waiters are still kept, and shown by
 * `inspect`. Time is the store's, never the contender's.
 */
export interface LockStore {
  /** For errors and health: `redis`, `memory`. */
  readonly name: string

  /** Calls that need a missing feature fail with `locks.unsupported` before the store is asked; without `fifo` waiters come in no order. */
  readonly features: LockFeatures

  /** A fresh identity of one acquisition, with at least 128 random bits. It may hold the terms, for `inspect`. */
  newValue(terms: ClaimTerms): string

  /**
   * Grants the claim if the rule above allows it, else says why not, and with `keepPlaceMs > 0` takes or refreshes its
   * place in the line for that long. A grant to a `value` that holds already succeeds again with the same token. A
   * `value` given up by `abandon`, or ended by force, is never granted: such a call rejects with `locks.store_unavailable`,
   * outcome `not_done`. A place that is left over wakes the next.
   */
  acquire(claim: Claim, request: AcquireRequest): Promise<AcquireReply>

  /** Sets the remaining time of the claim to `ttlMs` (and keeps the place for `lockDelayMs` more), if it holds. */
  extend(claim: Claim, ttlMs: number): Promise<'extended' | NotHeld>

  /**
   * Frees what the claim holds; the next waiter is granted it (`handOver`) or woken. `forgetAfterMs > 0`: an earlier
   * request for `value` may still be under way, so refuse it for that long.
   */
  release(claim: Claim, forgetAfterMs: number): Promise<'released' | NotHeld>

  /** Undoes whatever `acquire` did or may yet do for the claim: frees, leaves the line, wakes the next, refuses stragglers. */
  abandon(claim: Claim, forgetAfterMs: number): Promise<void>

  /**
   * From the moment the promise resolves, `onTurn` is called when it may be the turn of `value`, with the token if it was
   * handed the lock. Spurious calls are fine, a lost one is covered by the waiter's heartbeat, one may come long after
   * what it tells of. The function returned stops it.
   */
  listen(value: string, onTurn: (token?: number) => void): Promise<() => void>

  inspect(key: string): Promise<LockInfo | undefined>

  /** Or why it has none. */
  readonly operator: LockOperator | { readonly missing: string }

  /**
   * Calls `listener` when held locks must be verified: all (`undefined`) after the connection came back, for the store may
   * have forgotten them; one when the store heard that its value was ended by force.
   */
  onDoubt(listener: (value: string | undefined) => void): void

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined }

  /** Idempotent, never rejects. */
  close(): Promise<void>
}

/** `true`, or why this store cannot. */
export type LockFeature = true | { readonly missing: string }

/** Features of the store. The conformance suite tests those that are `true`; the others name a reason. */
export interface LockFeatures {
  /** First come, first served, woken by the release. Missing: waiters ask again after `retryAfterMs`, in no order. */
  readonly fifo: LockFeature
  /** `mode: 'shared'` and `permits`. */
  readonly shared: LockFeature
  /** `lockDelayMs`. */
  readonly lockDelay: LockFeature
}

/** Operator actions on locks. */
export interface LockOperator {
  /** Keys that are held, at most `limit`. */
  list(options: ListRequest): Promise<readonly LockInfo[]>
  /**
   * Ends all leases of the key, or none: with `tokens`, only if each of them has its token there, compared in the same step.
   * @param tokenFloor the token returned is above it, and above every one granted
   */
  forceRelease(
    key: string,
    options: ForceOptions,
    tokenFloor: number,
    tokens?: readonly number[],
  ): Promise<ForcedRelease | HolderChanged>
  audit(key: string): Promise<readonly ForcedRelease[]>
}

/** A forced release that changed nothing: owners of the leases without a token among those given. */
export interface HolderChanged {
  readonly others: readonly string[]
}

/** Which keys `list` shall tell of. */
export interface ListRequest {
  readonly limit: number
  readonly prefix: string
  readonly signal: AbortSignal | undefined
}

/** Terms of a claim for a key. */
export interface ClaimTerms {
  readonly owner: string
  readonly mode: LockMode
  /** How many may hold the key at the same time, this one included: 1 exclusive, n permits, `Infinity` for a reader. */
  readonly limit: number
  readonly lockDelayMs: number
}

/** An acquisition, from its first try to the end of its lease. */
export interface Claim extends ClaimTerms {
  readonly key: string
  readonly value: string
}

/** A try to get a key. */
export interface AcquireRequest {
  readonly ttlMs: number
  /**
   * The token granted is max(last + 1, the store's time in microseconds, tokenFloor + 1): rising over all grants of the
   * key, even if the store lost its counter, or its clock went back.
   */
  readonly tokenFloor: number
  readonly keepPlaceMs: number
  /** The caller takes a place next if it is not granted: a refusal need not say why. */
  readonly thenWaits?: boolean | undefined
  /**
   * For an exclusive claim that keeps a place: a release may grant it the lock without its asking again, for `ttlMs` from
   * then. Its listener is told; asking again succeeds as for any who hold. A store may do without.
   */
  readonly handOver?: boolean | undefined
}

/** Outcome of a try to get a key. */
export type AcquireReply =
  | { readonly status: 'granted'; readonly token: number }
  | {
      readonly status: 'busy'
      /** When the claim may have its place if nothing else happens; without `fifo`: when to ask again. */
      readonly retryAfterMs: number
      /** Place in the line, 0 = next; `undefined` when not in it. */
      readonly position: number | undefined
      /** Owner of the claim in the way. */
      readonly owner: string | undefined
      /** The last one granted: a hand-over with a higher one came after this refusal. Absent: nothing is handed over. */
      readonly lastToken?: number | undefined
      /** Something of the claim may be left all the same, as the vote of one server of many: `abandon` it. */
      readonly leftTrace?: boolean | undefined
    }

/** The claim does not hold (any longer); `forced` when the store knows that an operator took it away. */
export type NotHeld = 'lost' | { readonly forced: ForceOptions }
