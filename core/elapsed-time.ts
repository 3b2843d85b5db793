/** Elapsed time of a lease, on clocks that never understate it. */
import type { Clock } from './clock.ts'

/** A reading of both clocks. */
export interface Instant {
  readonly monotonicMs: number
  readonly wallMs: number
}

export function readInstant(clock: Clock): Instant {
  return { monotonicMs: clock.monotonic(), wallMs: clock.now() }
}

/**
 * The larger advance of the two clocks: the monotonic clock stops while the machine is suspended, and the wall clock may be set
 * back, which counts as no advance.
 */
export function elapsedMs(from: Instant, to: Instant): number {
  return Math.max(to.monotonicMs - from.monotonicMs, to.wallMs - from.wallMs)
}
