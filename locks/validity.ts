/**
 * The arithmetic of a lease, without I/O and timers.
 *
 * The store counts `ttlMs` from the moment it executed the request, on its own clock. The holder cannot see that moment, so it
 * counts from *before* it sent the request, on clocks that never understate: the monotonic one stops while the machine is
 * suspended and the wall clock may be set back, so the larger advance of the two counts. The remainder is reduced by a margin for
 * clocks that run at different rates and for a late event loop.
 *
 * Not covered: a machine that sleeps *and* has its wall clock set back within one lease. Then only the fence protects.
 */
import { elapsedMs, type Instant } from '../core/elapsed-time.ts'

export interface LeaseTiming {
  readonly ttlMs: number
  /** Part of the ttl that the holder does not use: 1 % + 2 ms for clock drift, plus the stall margin. */
  readonly marginMs: number
  /** A third of the valid time, so that two renewals may fail. */
  readonly renewEveryMs: number
  readonly renewTimeoutMs: number
  readonly retryRenewalMs: number
}

/** @param stallMarginMs expected delay of the event loop */
export function leaseTiming(ttlMs: number, stallMarginMs: number): LeaseTiming {
  const marginMs = ttlMs * 0.01 + 2 + stallMarginMs
  const renewEveryMs = Math.max(1, (ttlMs - marginMs) / 3)
  return { ttlMs, marginMs, renewEveryMs, renewTimeoutMs: renewEveryMs / 2, retryRenewalMs: renewEveryMs / 4 }
}

/**
 * Returns the default: 2 % of the ttl, at least 5 ms, and at least the recent delay of timers; but at most a quarter of the ttl,
 * or no time would remain to work.
 */
export function defaultStallMarginMs(ttlMs: number, latelyMs: number): number {
  return Math.max(5, ttlMs * 0.02, Math.min(latelyMs, ttlMs / 4))
}

/**
 * Returns the validity that remains at `now` for a lease whose successful request (grant or renewal) was sent at `sentAt`. Zero
 * or less: it has ended.
 */
export function remainingMs(timing: LeaseTiming, sentAt: Instant, now: Instant): number {
  return timing.ttlMs - timing.marginMs - elapsedMs(sentAt, now)
}
