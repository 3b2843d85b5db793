/**
 * THE CONTRACT: a lock is a lease with a fencing token.
 *
 * A lease ends by itself: a holder that dies, hangs or loses the network loses the lock within `ttlMs`. No lease can
 * stop a holder that was paused from acting late; only `lease.token`, checked where the effect happens, can
 * (`createFence` for PostgreSQL). What else is promised, and what is not: `docs/coordination/locks.md`.
 *
 * `test/conformance/locks.ts` is this page as tests; every store passes it.
 */
export interface Locks extends AsyncDisposable {
  /**
   * Makes one try. `undefined` when there is no room, or a waiter is ahead: a try never overtakes the queue.
   * @throws `locks.unsupported`, `locks.store_unavailable`, `locks.store_refused`, `locks.closed`; the signal's reason when it aborts
   */
  tryAcquire(key: string, options?: LeaseOptions): Promise<Lease | undefined>

  /**
   * Waits for the lock: first come, first served, woken by the release, no polling. A waiter that gives up leaves the
   * line at once; one that dies leaves it when its connection breaks or its heartbeat is missed.
   * @throws `locks.timeout` after `waitMs`; `locks.busy` when `waitMs` is 0; `locks.reentered` inside `using` of the same key,
   *   whatever the mode; `locks.unsupported` for a mode the store does not have; `locks.store_unavailable`, `locks.store_refused`,
   *   `locks.closed`; the signal's reason when it aborts
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>

  /**
   * Acquires, calls `work`, releases; never calls `work` without the lock. Settles after `work` has and the release is
   * settled too (at most about a second more). An error of `work` is handed on unchanged, whatever happened to the lock.
   * @throws what `acquire` throws; `locks.lost` when `work` succeeded but the lease had ended before: its last effects were
   *   not protected by this lock, only by the fence
   */
  using<T>(key: string, options: AcquireOptions, work: (lease: Lease) => T | Promise<T>): Promise<T>

  /**
   * Several keys, all or none, under one `waitMs`. They are acquired one after the other in byte order, so callers that
   * want the same keys in another order never wait for each other; what is held is renewed while the rest is waited for.
   * If one cannot be had, those held are given back, last first.
   * @throws TypeError for no keys or a key that is there twice; what `acquire` throws
   */
  acquireAll(keys: readonly string[], options?: AcquireOptions): Promise<LeaseSet>

  /** To `acquireAll` what `using` is to `acquire`. */
  usingAll<T>(keys: readonly string[], options: AcquireOptions, work: (leases: LeaseSet) => T | Promise<T>): Promise<T>

  /**
   * Holders and waiters of the key, as the store sees them; `undefined` without any. Already outdated when you read it: for people, logs
   * and observers.
   */
  inspect(key: string): Promise<LockInfo | undefined>

  /** Held keys, in no order, at most `limit`. Scans the whole store: for operators, not for programs. */
  list(options?: ListOptions): Promise<readonly LockInfo[]>

  /**
   * Takes the key away from its holders, in one step: ends all leases (and a lock delay), raises the token above every granted one, wakes
   * the next waiter, and records who did it and why. The holders learn it from a `locks.lost` with reason `forced`, at once if their
   * process can be notified, else at their next renewal: until then they continue. If they must stop writing at once, give the returned
   * token to the fence first.
   * @throws TypeError without `by` or `reason`; `locks.holder_changed` with `tokens`; `locks.unsupported`, `locks.store_unavailable`,
   *   `locks.store_refused`, `locks.closed`
   */
  forceRelease(key: string, options: ForceOptions & HoldersSeen): Promise<ForcedRelease>

  /** The last forced releases of the key, oldest first (the store keeps 100 per key, for 90 days after the last). */
  audit(key: string): Promise<readonly ForcedRelease[]>

  /** Cheap, no I/O. */
  health(): LocksHealth

  /**
   * Rejects the waiters with `locks.closed`, ends and releases the leases still held, closes the connections. Finish your
   * work first: a lease that is closed under running work is a lost lease. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** A lock that is held until `release()`, until it is lost, or until `maxHoldMs` is over. Renewed in the background. */
export interface Lease extends AsyncDisposable {
  readonly key: string
  /** The fencing token: every later grant of this key has a higher one. Whole number, exact as a JS number until 2255. */
  readonly token: number
  /** `held` turns into `releasing` or `lost`, never back; `releasing` ends as `released` or `lost`. */
  readonly state: LeaseState
  /**
   * Aborts with a `locks.lost` when the lease is lost. Best effort: after an event-loop stall your code can run before the
   * signal does. Call `assertValid` before an effect, and give `token` to whatever stores the effect.
   */
  readonly signal: AbortSignal
  /** Until when the holder may believe in the lease, epoch ms; moves with each renewal. */
  validUntil(): number
  /** Milliseconds of validity left, computed from the clocks now; 0 or less when it is over. */
  remainingMs(): number
  /**
   * Returns when at least `minRemainingMs` of validity are left, by the clocks, at this moment. Synchronous, so nothing
   * can come between the check and the statement after it. @throws `locks.lost`
   */
  assertValid(minRemainingMs?: number): void
  /**
   * Gives the lock back and wakes the next waiter. From the call on `assertValid` throws. Never rejects, never tries
   * beyond the lease's own validity. Idempotent: later calls get the first outcome.
   */
  release(): Promise<ReleaseOutcome>
}

/** `held`, `releasing` while the release is under way, then `released`; or `lost`, which is final. */
export type LeaseState = 'held' | 'releasing' | 'released' | 'lost'

/**
 * - `released`: the store confirmed that the lock was ours and is free.
 * - `lost`: it was no longer ours.
 * - `unconfirmed`: the store did not answer in time; the lock frees itself at the end of its ttl at the latest.
 */
export type ReleaseOutcome = 'released' | 'lost' | 'unconfirmed'

/** Leases that were acquired together. */
export interface LeaseSet extends AsyncDisposable {
  /** In the order in which they were acquired: the byte order of their keys. */
  readonly leases: readonly Lease[]
  /** @throws TypeError for a key that is not in the set */
  get(key: string): Lease
  /** Aborts with the first `locks.lost` of any of them. */
  readonly signal: AbortSignal
  /** Remaining time of the lease that ends first. */
  remainingMs(): number
  /** Same as `Lease.assertValid`, for all leases. @throws `locks.lost` */
  assertValid(minRemainingMs?: number): void
  /** Gives all back, last acquired first. The outcome is the worst of theirs: `lost`, `unconfirmed`, `released`. */
  release(): Promise<ReleaseOutcome>
}

/** `exclusive`: one holder. `shared`: any number of readers, and no writer beside them. */
export type LockMode = 'exclusive' | 'shared'

/** On what terms a lock is held. */
export interface LeaseOptions {
  /**
   * How long the lock outlives a holder that vanished; also the longest a stalled holder is waited for. At least 100,
   * advisably 1 second or more: below ten round trips renewals get tight. More than a thousand years count as a thousand.
   * @default 10 seconds
   */
  readonly ttlMs?: number | undefined
  /**
   * No renewal begins after this much holding; the lease is then lost within one ttl (`locks.lost` with reason
   * `max_hold`). 0 switches renewal off. @default no limit
   */
  readonly maxHoldMs?: number | undefined
  /** The granted token is greater than this: pass `lastToken` of `locks.fence_rejected` to heal a store that went back in time. */
  readonly tokenAbove?: number | undefined
  /** Name of the holder, for `inspect` and error messages. @default the owner given to the lock factory */
  readonly owner?: string | undefined
  /** Gives up. A grant that is under way at that moment is given back in the background. */
  readonly signal?: AbortSignal | undefined
  /**
   * A read-write lock: readers take `shared`, the writer `exclusive`. First come, first served over both: a reader does
   * not pass a waiting writer, and readers that wait one behind the other get in together. @default 'exclusive'
   */
  readonly mode?: LockMode | undefined
  /**
   * A semaphore: granted while fewer than this many hold the key, each with a lease of its own. Everybody should give the
   * same number; if not, each one's own counts for its own grant. Not together with `mode`.
   */
  readonly permits?: number | undefined
  /**
   * After an unclean end (not renewed, its process died) the key stays taken for this much longer: for sinks that cannot fence. A release
   * ends it at once; `close()` of the locks does not, since their work may continue. @default 0
   */
  readonly lockDelayMs?: number | undefined
}

/** Options of `acquire`, `acquireAll`, `using` and `usingAll`. */
export interface AcquireOptions extends LeaseOptions {
  /** How long to wait, in ms; 0 tries once, `Infinity` waits until `signal` aborts. @default 10 seconds */
  readonly waitMs?: number | undefined
}

/** A key as the store sees it. */
export interface LockInfo {
  readonly key: string
  /** By token, lowest first. Empty when it is only waited for. */
  readonly holders: readonly LockHolder[]
  /** In line, next one first. Some may be dead without anybody having noticed. */
  readonly waiters: readonly LockWaiter[]
}

/** A holder of a key, as the store sees it. */
export interface LockHolder {
  readonly owner: string
  readonly token: number
  readonly mode: LockMode
  /** Limit that a holder of a semaphore asked for. */
  readonly permits?: number | undefined
  /** When it was granted, epoch ms by the store's clock. */
  readonly sinceAt: number
  /** Until the lease ends unless it is renewed, by the store's clock. 0: it is over, and only its `lockDelayMs` runs. */
  readonly expiresInMs: number
  /** Until another may have its place: `expiresInMs` and the lock delay. */
  readonly freesInMs: number
}

/** A waiter for a key, as the store sees it. */
export interface LockWaiter {
  readonly owner: string
  readonly mode: LockMode
  readonly permits?: number | undefined
}

/** Which keys `list` tells of. */
export interface ListOptions {
  /** @default 100 */
  readonly limit?: number | undefined
  /** Only keys that begin with this. */
  readonly prefix?: string | undefined
  /** Ends the waiting with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** The person who takes a lock away from its holders, and the reason; both are stored. */
export interface ForceOptions {
  /** Person or program that does it, for the audit trail. */
  readonly by: string
  /** Why, for the audit trail and the holder's `locks.lost`. */
  readonly reason: string
}

/** The holders that the caller of `forceRelease` saw before it decided. */
export interface HoldersSeen {
  /**
   * Tokens of their leases, also of one that is over and has only its `lockDelayMs` left. The store compares them in the step that ends
   * the leases: if the key has a holder with another token, nothing changes. @default ends the leases of all current holders
   */
  readonly tokens?: readonly number[] | undefined
}

/** The record of a lock that was taken away from its holders. */
export interface ForcedRelease extends ForceOptions {
  readonly key: string
  /** Epoch ms by the store's clock. */
  readonly at: number
  /** Above every token granted before, below every one granted after. */
  readonly token: number
  /** Holders whose leases it ended; empty without any. */
  readonly ended: readonly Pick<LockHolder, 'owner' | 'token' | 'mode'>[]
}

/** The state of the store as this process sees it, and how many leases and waiters it has here. */
export interface LocksHealth {
  /** `idle`: the store was not needed yet. `down`: it did not answer last time; it is tried again in the background. */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
  readonly held: number
  readonly waiting: number
}
