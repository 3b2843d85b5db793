import { type Clock, SECOND } from '../../../core/clock.ts'
import type { ResolvedRateLimit } from '../../bindings/batch-rate-breaker-options.ts'

/** Tolerance for errors such as 0.1 + 0.2. */
const NEARLY = 1e-9

/**
 * A token bucket on the injected clock. It never blocks: a caller without tokens is woken when there are enough, and meanwhile
 * the broker's own flow control (prefetch) holds the rest back.
 */
export class RateLimit {
  readonly #perMs: number
  readonly #burst: number
  readonly #clock: Clock
  readonly #wake: () => void
  #tokens: number
  #at: number
  #armed = false

  constructor({ perSecond, burst }: ResolvedRateLimit, clock: Clock, wake: () => void) {
    this.#perMs = perSecond / SECOND
    this.#burst = burst
    this.#clock = clock
    this.#wake = wake
    this.#tokens = burst
    this.#at = clock.monotonic()
  }

  /** Takes all of `wanted`, or the maximum that the bucket can hold; 0 if there are not enough yet. */
  take(wanted: number): number {
    this.#refill()
    const needed = Math.min(wanted, this.#burst)
    if (this.#tokens + NEARLY >= needed) {
      this.#tokens -= needed
      return needed
    }
    this.#wakeWhen(needed)
    return 0
  }

  /** Takes tokens without waiting. The debt is at most one bucket. */
  spend(count: number): void {
    this.#refill()
    this.#tokens = Math.max(this.#tokens - count, -this.#burst)
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
  }

  #wakeWhen(needed: number): void {
    if (this.#armed) return
    this.#armed = true
    this.#clock.setTimer(Math.max(1, Math.ceil((needed - this.#tokens) / this.#perMs)), () => {
      this.#armed = false
      this.#wake()
    })
  }
}
