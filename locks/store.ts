import type { LockHolder } from './lock.ts'

/**
 * What a store implements; leases, renewal, waiting and errors are built on it once for all (`createLocks`).
 *
 * Each call is one atomic step in the store. Calls settle within a bound the store chooses (about a second): a rejection
 * is a `LockStoreUnavailable` (`outcome` says whether the step can have happened) or a `LockStoreRefused`.
 */
export interface LockStore {
  /** For errors and health: `redis`, `memory`. */
  readonly name: string

  /** A fresh identity of one acquisition, with at least 128 random bits; `owner` can be read back by `inspect`. */
  newValue(owner: string): string

  /**
   * Grants the lock to `value` if it is free and nobody waits before it, else says why not, and with `keepPlaceMs > 0`
   * takes or refreshes its place in the line for that long. A grant to the `value` that holds the lock already succeeds
   * again with the same token. A `value` given up by `abandon` is never granted.
   */
  acquire(request: AcquireRequest): Promise<AcquireReply>

  /** Sets the remaining time of a lock held by `value` to `ttlMs`. `lost`: it is not, or there is no such lock. */
  extend(key: string, value: string, ttlMs: number): Promise<'extended' | 'lost'>

  /**
   * Frees the lock if `value` holds it and wakes the next waiter. `forgetAfterMs > 0`: an earlier request for `value` may
   * still be under way, so refuse it for that long.
   */
  release(key: string, value: string, forgetAfterMs: number): Promise<'released' | 'lost'>

  /** Undoes whatever `acquire` did or may yet do for `value`: frees, leaves the line, wakes the next, refuses stragglers. */
  abandon(key: string, value: string, forgetAfterMs: number): Promise<void>

  /**
   * From the moment the promise resolves, `onTurn` is called when it may be the turn of `value`. Spurious calls are
   * fine, a lost one is covered by the waiter's heartbeat. The function returned stops it.
   */
  listen(value: string, onTurn: () => void): Promise<() => void>

  inspect(key: string): Promise<LockHolder | undefined>

  /** Calls `listener` after the connection came back: held locks must be verified, the store may have forgotten them. */
  onRestored(listener: () => void): void

  health(): { readonly status: 'up' | 'down' | 'idle'; readonly detail?: string | undefined }

  /** Idempotent, never rejects. */
  close(): Promise<void>
}

export interface AcquireRequest {
  readonly key: string
  readonly value: string
  readonly ttlMs: number
  /**
   * The token granted is max(last + 1, the store's time in microseconds, tokenFloor + 1): rising even if the store lost
   * its counter, or its clock went back.
   */
  readonly tokenFloor: number
  readonly keepPlaceMs: number
}

export type AcquireReply =
  | { readonly status: 'granted'; readonly token: number }
  | {
      readonly status: 'busy'
      /** When the lock, or the claim of the first in line, ends if nothing else happens. */
      readonly retryAfterMs: number
      /** Place in the line, 0 = next; `undefined` when not in it. */
      readonly position: number | undefined
      readonly owner: string | undefined
    }
