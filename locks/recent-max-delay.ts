import { MINUTE } from '../core/clock.ts'

/** After this long what was seen counts half. */
const HALF_LIFE_MS = 1 * MINUTE

/**
 * How late things have been lately: the event loop, and the answers of the store. A maximum that fades, in the place of
 * the 99.9th percentile of a histogram: it costs one comparison per sample, and errs on the safe side.
 */
export class RecentMaxDelay {
  #worstMs = 0
  #seenAt = 0

  /** @param now monotonic */
  sawLoop(lateMs: number, now: number): void {
    if (lateMs < this.ms(now)) return
    this.#worstMs = lateMs
    this.#seenAt = now
  }

  /** Twice the time of a round trip: a check and the effect after it are about as far apart. */
  sawAnswer(tookMs: number, now: number): void {
    this.sawLoop(2 * tookMs, now)
  }

  ms(now: number): number {
    return this.#worstMs * 0.5 ** ((now - this.#seenAt) / HALF_LIFE_MS)
  }
}
