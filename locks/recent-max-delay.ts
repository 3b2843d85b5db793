import { MINUTE } from '../core/clock.ts'

/** Time after which a past delay counts half. */
const HALF_LIFE_MS = 1 * MINUTE

/**
 * Recent maximum delay of the event loop and of the store's answers. A maximum that decays, instead of the 99.9th percentile of a
 * histogram: it costs one comparison per sample, and errs on the safe side.
 */
export class RecentMaxDelay {
  #worstMs = 0
  #seenAt = 0

  /** @param now monotonic time */
  sawLoop(lateMs: number, now: number): void {
    if (lateMs < this.ms(now)) return
    this.#worstMs = lateMs
    this.#seenAt = now
  }

  /** Counts twice the time of a round trip: a check and the effect after it are about that far apart. */
  sawAnswer(tookMs: number, now: number): void {
    this.sawLoop(2 * tookMs, now)
  }

  ms(now: number): number {
    return this.#worstMs * 0.5 ** ((now - this.#seenAt) / HALF_LIFE_MS)
  }
}
