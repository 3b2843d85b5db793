import type { Clock } from '../core/clock.ts'

interface Timer {
  readonly at: number
  readonly callback: () => void
}

/**
 * A clock that stands still until it is moved. Timers fire in order of their due time, then in the order in which they were
 * set.
 */
export class KitClock implements Clock {
  #now: number
  #monotonic = 0
  readonly #timers: Timer[] = []

  constructor(startAt: number) {
    this.#now = startAt
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        cancel()
        reject(reasonOf(signal))
      }
      const cancel = this.setTimer(durationMs, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      if (signal?.aborted) onAbort()
      else signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  setTimer(durationMs: number, callback: () => void): () => void {
    const timer = { at: this.#monotonic + Math.max(durationMs, 0), callback }
    const later = this.#timers.findIndex(({ at }) => at > timer.at)
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, timer)
    return () => {
      const index = this.#timers.indexOf(timer)
      if (index >= 0) this.#timers.splice(index, 1)
    }
  }

  /** Time until the next timer; `undefined` without a timer. */
  get nextInMs(): number | undefined {
    const [first] = this.#timers
    return first && Math.max(first.at - this.#monotonic, 0)
  }

  /** Moves the clock, at most to the next timer, which then fires. */
  step(atMostMs: number): void {
    const [first] = this.#timers
    const isDue = first !== undefined && first.at <= this.#monotonic + atMostMs
    const to = isDue ? Math.max(first.at, this.#monotonic) : this.#monotonic + atMostMs
    this.#now += to - this.#monotonic
    this.#monotonic = to
    if (!isDue) return
    this.#timers.shift()
    first.callback()
  }
}

function reasonOf(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal?.reason })
}
