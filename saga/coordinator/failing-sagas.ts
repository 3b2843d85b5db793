/**
 * Sagas that this process cannot advance for now, each with its last error: the database or the outbox rejected a write, or this
 * release cannot read the stored saga. The coordinator tries them again.
 */
import type { Clock } from '../../core/clock.ts'
import { RecentFailures } from '../../core/recent-failures.ts'

export class FailingSagas {
  readonly #what: string
  readonly #failures: RecentFailures<Error>

  /**
   * @param keptMs after this time without a retry here the saga belongs to another instance
   * @param what failed, for `problem`: `not written`, `not read`
   */
  constructor(clock: Clock, keptMs: number, what: string) {
    this.#what = what
    this.#failures = new RecentFailures(clock, keptMs)
  }

  failed(saga: string, error: Error): void {
    this.#failures.failed(saga, error)
  }

  recovered(saga: string): void {
    this.#failures.succeeded(saga)
  }

  /** Describes the latest failure and counts the others; `undefined` when there is none. */
  problem(): string | undefined {
    const latest = this.#failures.latest()
    if (latest === undefined) return undefined
    const { key, failure, count } = latest
    const more = count === 1 ? '' : `, and ${count - 1} more`
    return `saga ${key}${more} ${this.#what}: ${failure.message}`
  }
}
