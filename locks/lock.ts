/**
 * Contract: a lock is a lease with a fencing token.
 *
 * A lease ends by itself: a holder that dies, hangs or loses the network loses the lock within `ttlMs`. No lease can prevent a
 * paused holder from acting late; only `lease.token`, checked where the effect happens, can (`createFence` for PostgreSQL).
 * `docs/coordination/locks.md` describes all guarantees and limits.
 *
 * `test/conformance/locks.ts` tests this contract for every store.
 */
export interface Locks extends AsyncDisposable {
  /**
   * Makes one try. `undefined` when the lock is held, or a waiter is ahead: a try never overtakes the queue.
   * @throws `locks.unsupported`, `locks.store_unavailable`, `locks.store_refused`, `locks.closed`; the reason of the signal when
   * it aborts
   */
  tryAcquire(key: string, options?: LeaseOptions): Promise<Lease | undefined>

  /**
   * Waits for the lock: first come, first served, woken by the release, without polling. A waiter that gives up leaves the queue
   * at once; a dead one when its connection breaks or its heartbeat is missed.
   * @throws `locks.timeout` after `waitMs`; `locks.busy` when `waitMs` is 0; `locks.reentered` inside `using` of the same key,
   * whatever the mode; `locks.unsupported` for a mode that the store lacks; `locks.store_unavailable`, `locks.store_refused`,
   * `locks.closed`; the reason of the signal when it aborts
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>

  /**
   * Acquires, calls `work`, releases; never calls `work` without the lock. Settles after `work` and the release have settled (at
   * most about a second later). An error of `work` is rethrown unchanged, whatever happened to the lock.
   * @throws the errors of `acquire`; `locks.lost` when `work` succeeded but the lease had ended before: its last effects were not
   * protected by this lock, only by the fence
   */
  using<T>(key: string, options: AcquireOptions, work: (lease: Lease) => T | Promise<T>): Promise<T>

  /**
   * Acquires several keys, all or none, under one `waitMs`. They are acquired one after the other in byte order, so callers with
   * the same keys in another order cannot deadlock; held keys are renewed while the rest is awaited. If one cannot be acquired,
   * the held ones are given back, last first.
   * @throws TypeError for no keys or a repeated key; the errors of `acquire`
   */
  acquireAll(keys: readonly string[], options?: AcquireOptions): Promise<LeaseSet>

  /** `using` for several keys, acquired like `acquireAll`. */
  usingAll<T>(keys: readonly string[], options: AcquireOptions, work: (leases: LeaseSet) => T | Promise<T>): Promise<T>

  /**
   * Returns holders and waiters of the key, as the store sees them; `undefined` without any. Outdated as soon as it is read: use
   * it for display and logs only.
   */
  inspect(key: string): Promise<LockInfo | undefined>

  /** Lists held keys, in no order, at most `limit`. Scans the whole store: for operators, not for programs. */
  list(options?: ListOptions): Promise<readonly LockInfo[]>

  /**
   * Takes the key from its holders, in one step: ends all leases (and a lock delay), raises the token above every granted one,
   * wakes the next waiter, and records the operator and the reason. The holders get a `locks.lost` with reason `forced`, at once
   * if their process can be notified, otherwise at their next renewal: until then they continue. If they must stop writing at
   * once, pass the returned token to the fence first.
   * @throws TypeError without `by` or `reason`; `locks.holder_changed` with `tokens`; `locks.unsupported`,
   * `locks.store_unavailable`, `locks.store_refused`, `locks.closed`
   */
  forceRelease(key: string, options: ForceOptions & HoldersSeen): Promise<ForcedRelease>

  /** Returns the last forced releases of the key, oldest first (the store keeps 100 per key, for 90 days after the last). */
  audit(key: string): Promise<readonly ForcedRelease[]>

  /** Returns the health. Cheap, no I/O. */
  health(): LocksHealth

  /**
   * Rejects the waiters with `locks.closed`, ends and releases held leases, closes the connections. Finish your work first:
   * running work loses its lease. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** A lock that is held until `release()`, until it is lost, or until `maxHoldMs` has passed. Renewed in the background. */
export interface Lease extends AsyncDisposable {
  readonly key: string
  /** The fencing token: every later grant of this key has a higher one. Whole number, exact as a JS number until 2255. */
  readonly token: number
  /** `held` becomes `releasing` or `lost`, never the reverse; `releasing` ends as `released` or `lost`. */
  readonly state: LeaseState
  /**
   * Aborts with a `locks.lost` when the lease is lost. Best effort: after a blocked event loop your code may run before the
   * signal aborts. Call `assertValid` before an effect, and pass `token` to the system that stores the effect.
   */
  readonly signal: AbortSignal
  /** Time until which the holder may rely on the lease, epoch ms; moves with each renewal. */
  validUntil(): number
  /** Remaining validity in ms, computed from the clocks now; 0 or less when it has ended. */
  remainingMs(): number
  /**
   * Checks that at least `minRemainingMs` of validity remain, by the clocks, at this moment. Synchronous, so no other code runs
   * between the check and the next statement. @throws `locks.lost`
   */
  assertValid(minRemainingMs?: number): void
  /**
   * Gives the lock back and wakes the next waiter. `assertValid` throws from then on. Never rejects, and never tries longer than
   * the lease's own validity. Idempotent: later calls get the first outcome.
   */
  release(): Promise<ReleaseOutcome>
}

/** `held`, `releasing` during the release, then `released`; or `lost`, which is final. */
export type LeaseState = 'held' | 'releasing' | 'released' | 'lost'

/**
 * Outcome of a release:
 * - `released`: the store confirmed that the lease held the lock, which is free now.
 * - `lost`: the lease no longer held it.
 * - `unconfirmed`: the store did not answer in time; the lock frees itself at the end of its ttl at the latest.
 */
export type ReleaseOutcome = 'released' | 'lost' | 'unconfirmed'

/** Leases that were acquired together. */
export interface LeaseSet extends AsyncDisposable {
  /** Leases in the order in which they were acquired: the byte order of their keys. */
  readonly leases: readonly Lease[]
  /** @throws TypeError for a key that is not in the set */
  get(key: string): Lease
  /** Aborts with the first `locks.lost` of any of them. */
  readonly signal: AbortSignal
  /** Remaining time of the lease that ends first. */
  remainingMs(): number
  /** Same as `Lease.assertValid`, for all leases. @throws `locks.lost` */
  assertValid(minRemainingMs?: number): void
  /** Gives all back, last acquired first. Returns the worst outcome: `lost`, `unconfirmed`, `released`. */
  release(): Promise<ReleaseOutcome>
}

/** `exclusive`: one holder. `shared`: any number of readers, and no writer at the same time. */
export type LockMode = 'exclusive' | 'shared'

/** Terms of a lease. */
export interface LeaseOptions {
  /**
   * How long the lock outlives a dead holder, and how long others wait for a stalled one. At least 100 ms; 1 second or more is
   * advisable, because renewals become critical below ten round trips. Values over a thousand years count as a thousand.
   * @default 10 seconds
   */
  readonly ttlMs?: number | undefined
  /**
   * Longest time to hold, after which the lease is no longer renewed and is lost within one ttl (`locks.lost` with reason
   * `max_hold`). 0 disables renewals. @default no limit
   */
  readonly maxHoldMs?: number | undefined
  /**
   * Minimum of the granted token, exclusive: pass `lastToken` of `locks.fence_rejected` after a store was restored to an earlier
   * state.
   */
  readonly tokenAbove?: number | undefined
  /** Name of the holder, for `inspect` and error messages. @default the owner given to the lock factory */
  readonly owner?: string | undefined
  /** Gives up. A grant that arrives at that moment is given back in the background. */
  readonly signal?: AbortSignal | undefined
  /**
   * A read-write lock: readers use `shared`, the writer `exclusive`. First come, first served over both: a reader does not
   * overtake a waiting writer, and consecutive waiting readers are admitted together. @default 'exclusive'
   */
  readonly mode?: LockMode | undefined
  /**
   * A semaphore: granted while fewer than this many hold the key, each with its own lease. All callers should pass the same
   * number; otherwise each one's number applies to its own grant. Not together with `mode`.
   */
  readonly permits?: number | undefined
  /**
   * Time for which the key stays taken after an unclean end (not renewed, its process died), for systems that cannot fence. A
   * release ends it at once; `close()` of the locks does not, because their work may continue. @default 0
   */
  readonly lockDelayMs?: number | undefined
}

/** Options of `acquire`, `acquireAll`, `using` and `usingAll`. */
export interface AcquireOptions extends LeaseOptions {
  /** How long to wait, in ms; 0 tries once, `Infinity` waits until `signal` aborts. @default 10 seconds */
  readonly waitMs?: number | undefined
}

/** State of a key in the store. */
export interface LockInfo {
  readonly key: string
  /** Holders by token, lowest first. Empty if there are only waiters. */
  readonly holders: readonly LockHolder[]
  /** Queue, next one first. Some waiters may have died unnoticed. */
  readonly waiters: readonly LockWaiter[]
}

/** A holder of a key, as the store sees it. */
export interface LockHolder {
  readonly owner: string
  readonly token: number
  readonly mode: LockMode
  /** Limit that a holder of a semaphore requested. */
  readonly permits?: number | undefined
  /** Time of the grant, epoch ms by the store's clock. */
  readonly sinceAt: number
  /**
   * Time until the lease ends unless it is renewed, by the store's clock. 0: it has ended, and only its `lockDelayMs` remains.
   */
  readonly expiresInMs: number
  /** Time until another may take its place: `expiresInMs` and the lock delay. */
  readonly freesInMs: number
}

/** A waiter for a key, as the store sees it. */
export interface LockWaiter {
  readonly owner: string
  readonly mode: LockMode
  readonly permits?: number | undefined
}

/** Selection of keys for `list`. */
export interface ListOptions {
  /** Maximum number of keys. @default 100 */
  readonly limit?: number | undefined
  /** Only keys with this prefix. */
  readonly prefix?: string | undefined
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** Operator and reason of a forced release; both are stored. */
export interface ForceOptions {
  /** Person or program, for the audit trail. */
  readonly by: string
  /** Reason, for the audit trail and the holder's `locks.lost`. */
  readonly reason: string
}

/** Holders that the caller of `forceRelease` saw before deciding. */
export interface HoldersSeen {
  /**
   * Tokens of their leases, including one that has ended and has only its `lockDelayMs` left. The store compares them in the step
   * that ends the leases: if the key has a holder with another token, nothing changes. @default ends the leases of all current
   * holders
   */
  readonly tokens?: readonly number[] | undefined
}

/** Record of a forced release. */
export interface ForcedRelease extends ForceOptions {
  readonly key: string
  /** Epoch ms by the store's clock. */
  readonly at: number
  /** Higher than every token granted before, lower than every one granted afterwards. */
  readonly token: number
  /** Holders whose leases it ended; empty without any. */
  readonly ended: readonly Pick<LockHolder, 'owner' | 'token' | 'mode'>[]
}

/** State of the store as this process sees it, and numbers of its leases and waiters. */
export interface LocksHealth {
  /** `idle`: the store was not needed yet. `down`: it did not answer the last time, and is retried in the background. */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
  readonly held: number
  readonly waiting: number
}
