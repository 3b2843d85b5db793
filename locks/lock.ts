/**
 * THE CONTRACT: a lock is a lease with a fencing token.
 *
 * A lease ends by itself: a holder that dies, hangs or loses the network loses the lock within `ttlMs`. No lease can
 * stop a holder that was paused from acting late; only `lease.token`, checked where the effect happens, can
 * (`createFence` for PostgreSQL). What else is promised, and what is not: `docs/locks.md`.
 *
 * `test/conformance/locks.ts` is this page as tests; every store passes it.
 */
export interface Locks extends AsyncDisposable {
  /**
   * One try. `undefined` when somebody holds the lock or waits for it: a try never overtakes the queue.
   * @throws LockStoreUnavailable, LockStoreRefused, LocksClosed; the signal's reason when it aborts
   */
  tryAcquire(key: string, options?: LeaseOptions): Promise<Lease | undefined>

  /**
   * Waits for the lock: first come, first served, woken by the release, no polling. A waiter that gives up leaves the
   * line at once; one that dies leaves it when its connection breaks or its heartbeat is missed.
   * @throws LockTimeout after `waitMs`; LockBusy when `waitMs` is 0; LockReentered inside `using` of the same key;
   *   LockStoreUnavailable, LockStoreRefused, LocksClosed; the signal's reason when it aborts
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>

  /**
   * Acquires, calls `work`, releases; never calls `work` without the lock. Settles after `work` has and the release is
   * settled too (at most about a second more). An error of `work` is handed on unchanged, whatever happened to the lock.
   * @throws what `acquire` throws; LockLost when `work` succeeded but the lease had ended before: its last effects were
   *   not protected by this lock, only by the fence
   */
  using<T>(key: string, options: AcquireOptions, work: (lease: Lease) => T | Promise<T>): Promise<T>

  /** Who holds the lock now, as the store sees it. Already old when you read it: for people, logs and observers. */
  inspect(key: string): Promise<LockHolder | undefined>

  /** Cheap, no I/O. */
  health(): LocksHealth

  /**
   * Rejects the waiters with `LocksClosed`, ends and releases the leases still held, closes the connections. Finish your
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
   * Aborts with a `LockLost` when the lease is lost. Best effort: after an event-loop stall your code can run before the
   * signal does. Call `assertValid` before an effect, and give `token` to whatever stores the effect.
   */
  readonly signal: AbortSignal
  /** Until when the holder may believe in the lease, epoch ms; moves with each renewal. */
  validUntil(): number
  /** Milliseconds of validity left, computed from the clocks now; 0 or less when it is over. */
  remainingMs(): number
  /**
   * Returns when at least `minRemainingMs` of validity are left, by the clocks, at this moment. Synchronous, so nothing
   * can come between the check and the statement after it. @throws LockLost
   */
  assertValid(minRemainingMs?: number): void
  /**
   * Gives the lock back and wakes the next waiter. From the call on `assertValid` throws. Never rejects, never tries
   * beyond the lease's own validity. Idempotent: later calls get the first outcome.
   */
  release(): Promise<ReleaseOutcome>
}

export type LeaseState = 'held' | 'releasing' | 'released' | 'lost'

/**
 * - `released`: the store confirmed that the lock was ours and is free.
 * - `lost`: it was not ours any more.
 * - `unconfirmed`: the store did not answer in time; the lock frees itself at the end of its ttl at the latest.
 */
export type ReleaseOutcome = 'released' | 'lost' | 'unconfirmed'

export interface LeaseOptions {
  /**
   * How long the lock outlives a holder that vanished; also the longest a stalled holder is waited for. At least 100,
   * advisably 1 second or more: below ten round trips renewals get tight. @default 10 seconds
   */
  readonly ttlMs?: number | undefined
  /**
   * No renewal begins after this much holding; the lease is then lost within one ttl (`LockLost` with reason
   * `max_hold`). 0 switches renewal off. @default no limit
   */
  readonly maxHoldMs?: number | undefined
  /** The granted token is greater than this: pass `FenceRejected.lastToken` to heal a store that went back in time. */
  readonly tokenAbove?: number | undefined
  /** Who holds it, for `inspect` and error messages. @default the owner given to the lock factory */
  readonly owner?: string | undefined
  /** Gives up. A grant that is under way at that moment is given back in the background. */
  readonly signal?: AbortSignal | undefined
}

export interface AcquireOptions extends LeaseOptions {
  /** How long to wait, in ms; 0 tries once, `Infinity` waits until `signal` aborts. @default 10 seconds */
  readonly waitMs?: number | undefined
}

export interface LockHolder {
  readonly owner: string
  readonly token: number
  /** Until the lock frees itself unless it is renewed, in ms, by the store's clock. */
  readonly expiresInMs: number
  /** How many wait for it. */
  readonly waiting: number
}

export interface LocksHealth {
  /** `idle`: the store was not needed yet. `down`: it did not answer last time; it is tried again in the background. */
  readonly status: 'up' | 'down' | 'idle' | 'closed'
  readonly detail?: string | undefined
  readonly held: number
  readonly waiting: number
}
