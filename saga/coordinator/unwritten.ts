/**
 * Sagas that do not go on in this process, and are tried again: the database or the outbox did not take a write, or this release cannot
 * read what is stored.
 */
import type { Clock } from '../../core/clock.ts'

interface Failure {
  readonly saga: string
  readonly error: Error
  readonly atMs: number
}

export class Unwritten {
  readonly #clock: Clock
  readonly #keptMs: number
  readonly #what: string
  readonly #failures = new Map<string, Failure>()

  /**
   * @param keptMs a saga that was not tried again for so long is another instance's
   * @param what is wrong with each: `not written`
   */
  constructor(clock: Clock, keptMs: number, what: string) {
    this.#clock = clock
    this.#keptMs = keptMs
    this.#what = what
  }

  failed(saga: string, error: Error): void {
    this.#failures.delete(saga)
    this.#failures.set(saga, { saga, error, atMs: this.#clock.monotonic() })
  }

  written(saga: string): void {
    if (this.#failures.size > 0) this.#failures.delete(saga)
  }

  /** Why the saga that failed last does not go on; `undefined` when there is none. */
  problem(): string | undefined {
    const oldest = this.#clock.monotonic() - this.#keptMs
    for (const { saga, atMs } of this.#failures.values()) {
      if (atMs >= oldest) break
      this.#failures.delete(saga)
    }
    const last = [...this.#failures.values()].at(-1)
    if (last === undefined) return undefined
    const others = this.#failures.size - 1
    const more = others === 0 ? '' : `, and ${others} more`
    return `saga ${last.saga}${more} ${this.#what}: ${last.error.message}`
  }
}
