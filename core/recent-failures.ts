import type { Clock } from './clock.ts'

interface Kept<Failure> {
  readonly key: string
  readonly failure: Failure
  /** Monotonic ms. */
  readonly at: number
}

/**
 * The last failure of each key, until the key succeeds or was not tried again for a while: the process then no longer needs it,
 * or another process has it.
 */
export class RecentFailures<Failure> {
  readonly #clock: Clock
  readonly #keptMs: number
  readonly #most: number
  /** Ordered by time. */
  readonly #kept = new Map<string, Kept<Failure>>()

  /** @param most maximum number of keys; beyond it, the oldest failure is dropped */
  constructor(clock: Clock, keptMs: number, most: number = Number.POSITIVE_INFINITY) {
    this.#clock = clock
    this.#keptMs = keptMs
    this.#most = most
  }

  failed(key: string, failure: Failure): void {
    this.#kept.delete(key)
    this.#kept.set(key, { key, failure, at: this.#clock.monotonic() })
    this.#forgetOld()
  }

  succeeded(key: string): void {
    if (this.#kept.size > 0) this.#kept.delete(key)
  }

  /** The latest failure, and the number of failing keys; `undefined` without a failure. */
  latest(): { readonly key: string; readonly failure: Failure; readonly count: number } | undefined {
    this.#forgetOld()
    const last = [...this.#kept.values()].at(-1)
    return last && { key: last.key, failure: last.failure, count: this.#kept.size }
  }

  #forgetOld(): void {
    const since = this.#clock.monotonic() - this.#keptMs
    for (const { key, at } of this.#kept.values()) {
      if (at > since && this.#kept.size <= this.#most) return
      this.#kept.delete(key)
    }
  }
}
