import type { Clock } from './clock.ts'

const FIRST_PAUSE_MS = 5

/**
 * Pauses of an idle loop: 5 ms, doubled up to a maximum, until `wake` is called. A wake-up restarts with short pauses, because it
 * may arrive before the commit that it announces.
 */
export class IdleBackoff {
  readonly #clock: Clock
  readonly #maxMs: number
  #pauseMs: number
  #woken = false
  #isEarlier = false
  #sleeping: AbortController | undefined

  constructor(clock: Clock, maxMs: number) {
    this.#clock = clock
    this.#maxMs = maxMs
    this.#pauseMs = Math.min(FIRST_PAUSE_MS, maxMs)
  }

  wake(): void {
    this.#woken = true
    this.#sleeping?.abort()
  }

  /** Called after work was found: the next pauses are short. */
  reset(): void {
    this.#pauseMs = Math.min(FIRST_PAUSE_MS, this.#maxMs)
  }

  /** Called when there may be work in a moment: the current pause is shortened. */
  soon(): void {
    const isLong = this.#pauseMs > FIRST_PAUSE_MS
    this.reset()
    if (this.#sleeping === undefined || !isLong) return
    this.#isEarlier = true
    this.#sleeping.abort()
  }

  /** Returns at once if woken since the last call. */
  async wait(): Promise<void> {
    while (!this.#woken) {
      this.#isEarlier = false
      this.#sleeping = new AbortController()
      await this.#clock.sleep(this.#pauseMs, this.#sleeping.signal).catch(() => undefined)
      this.#sleeping = undefined
      if (!this.#isEarlier) break
    }
    this.#isEarlier = false
    this.#pauseMs = this.#woken ? Math.min(FIRST_PAUSE_MS, this.#maxMs) : Math.min(this.#pauseMs * 2, this.#maxMs)
    this.#woken = false
  }
}
