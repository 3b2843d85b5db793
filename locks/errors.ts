import { type ErrorClass, type ErrorOf, errorClass, reasonOf } from '../core/define-error-class.ts'

/**
 * Reason for which a lease ended without a clean release.
 * - `expired`: no renewal was confirmed in time (store unavailable, event loop blocked, machine suspended).
 * - `displaced`: the store reports that this lease does not hold the lock: deleted, flushed, or lost in a restart or failover.
 * - `forced`: an operator ended it with `forceRelease`; the message has the operator and the reason.
 * - `max_hold`: held longer than `maxHoldMs`.
 * - `closed`: `locks.close()` ended it.
 * - `released`: its own holder released it, and then used it.
 */
export type LockLostReason = 'expired' | 'displaced' | 'forced' | 'max_hold' | 'closed' | 'released'

const REMEDY: Readonly<Record<LockLostReason, string>> = {
  expired: 'no renewal was confirmed in time. Acquire again and repeat the work; the fence refuses what came late',
  displaced: 'the store does not know it any more. Acquire again and repeat the work; the fence refuses what came late',
  forced: 'it was released by force. Stop, and find out why before you acquire again',
  max_hold: 'it was held longer than maxHoldMs. Split the work, or raise maxHoldMs',
  closed: 'the locks were closed while it was held. Finish the work before close()',
  released: 'it was released before. Do not use a lease after its release',
}

/** Fields of a `LockError`, by code. */
export interface LockErrors {
  /** Another owner holds the lock, and the caller does not wait. `owner` is the holder, if the store knows. */
  'locks.busy': { key: string; owner: string | undefined; retryAfterMs: number }
  /** No grant within `waitMs`. `position` is the place in the queue at the last try, 0 = next. */
  'locks.timeout': { key: string; waitMs: number; owner: string | undefined; position: number | undefined }
  /** The lease has ended: stop, do not write. */
  'locks.lost': { key: string; token: number; reason: LockLostReason; detail?: string | undefined }
  /**
   * The store cannot be reached, does not answer in time, or is not ready. Nothing was granted to the caller. `outcome` is
   * `unknown` when the step may have happened, or may still happen.
   */
  'locks.store_unavailable': { store: string; outcome: 'not_done' | 'unknown'; detail: string }
  /** The store refused and would refuse again: wrong type under the key, missing permission, script error. */
  'locks.store_refused': { store: string }
  /**
   * A newer holder has written to this resource, so this token is permanently too late. Roll back, and repeat the work under a
   * new lease, for which the error counts as retryable. `lastToken` is the highest token that the resource has seen; pass it as
   * `tokenAbove` if the lock store was restored to an earlier state.
   */
  'locks.fence_rejected': { resource: string; token: number; lastToken: number }
  /**
   * The fence accepted the commands but one of them failed, such as `HSET`; Redis does not roll back, so the first `applied`
   * commands took effect. With `applied` 0 only the token was stored.
   */
  'locks.fenced_write_failed': { resource: string; command: string; applied: number }
  /**
   * A forced release named the tokens of the holders that its caller saw, but there is another holder now. Nothing was changed.
   * `holders` are the owners of the leases that were not named.
   */
  'locks.holder_changed': { key: string; holders: readonly string[] }
  /** `acquire` of a key inside `using` of the same key, in any mode, which could wait for itself. */
  'locks.reentered': { key: string }
  /** The store does not support this: a mode, a lock delay, a forced release. */
  'locks.unsupported': { store: string; feature: string; why: string }
  /** Used after `close()`, or waiting at that time. */
  'locks.closed': object
  /** The lock headers of a message do not have the form of `leaseHeaders`: damaged, or forged. Not retryable. */
  'locks.lease_headers': { header: string; value: string; expected: string }
}

/** Error of locks, fences and leases. Its fields depend on its `code`: see `LockErrors`. */
export type LockError<Code extends keyof LockErrors = keyof LockErrors> = ErrorOf<LockErrors, Code>

/** Error of locks, fences and leases. Its fields depend on its `code`: see `LockErrors`. */
export const LockError: ErrorClass<LockErrors> = errorClass<LockErrors>(
  'LockError',
  {
    'locks.busy': ({ key, owner, retryAfterMs }) =>
      `lock "${key}" is held by ${owner ?? 'another holder'} (for ${retryAfterMs} ms more unless renewed): pass waitMs to wait for it`,
    'locks.timeout': ({ key, waitMs, owner, position }) => {
      const place = position === undefined ? '' : `, ${position} ahead in the line`
      return `lock "${key}" was not free within ${waitMs} ms (held by ${owner ?? 'another holder'}${place}): wait longer, hold it shorter, or split the key`
    },
    'locks.lost': ({ key, token, reason, detail }) =>
      `lock "${key}" (token ${token}) is lost: ${detail ?? REMEDY[reason]}`,
    'locks.store_unavailable': ({ store, detail }) =>
      `lock store ${store} is unavailable: ${detail}. Check that it is up and reachable; it is tried again in the background`,
    'locks.store_refused': ({ store }, cause) =>
      `lock store ${store} refused: ${reasonOf(cause)}. Check the prefix, the permissions and the server version`,
    'locks.fence_rejected': ({ resource, token, lastToken }) =>
      `fence of "${resource}" refuses token ${token}: ${lastToken} was here. The lock was lost meanwhile; acquire again and repeat the work`,
    'locks.fenced_write_failed': ({ resource, command, applied }, cause) => {
      const before = applied === 0 ? 'nothing was written' : `the ${applied} before it took effect and stay`
      return `fence of "${resource}": ${command} failed: ${reasonOf(cause)}; ${before}. Fix the command (in a cluster every key needs the hash tag of the resource), then repeat what is missing`
    },
    'locks.holder_changed': ({ key, holders }) =>
      `lock "${key}": ${holders.join(', ')} holds it now, and was not among the holders seen: look again, then decide`,
    'locks.reentered': ({ key }) =>
      `lock "${key}" is already held by this call chain, which could wait for itself: pass the lease on instead, or take the stronger mode from the start`,
    'locks.unsupported': ({ store, feature, why }) =>
      `lock store ${store} has no ${feature}: ${why}. Use a store that has it (redisLocks, memoryLocks)`,
    'locks.closed':
      'locks: expected open locks, got locks that are closed: acquire nothing after close(), or make others, e.g. redisLocks({ url })',
    'locks.lease_headers': ({ header, value, expected }) =>
      `message header ${header}: expected ${expected}, got ${value}. Send what leaseHeaders() returns, both headers or none`,
  },
  ['locks.busy', 'locks.timeout', 'locks.lost', 'locks.store_unavailable', 'locks.fence_rejected'],
)
