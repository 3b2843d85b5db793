/**
 * Sagas that this process cannot advance for now, each with the last error: the database or the outbox rejected a write, or this release
 * cannot read the stored saga. They are tried again.
 */
import type { Clock } from '../../core/clock.ts'

interface Failure {
  readonly saga: string
  readonly error: Error
  readonly atMs: number
}

export class FailingSagas {
  readonly #clock: Clock
  readonly #keptMs: number
  readonly #what: string
  readonly #failures = new Map<string, Failure>()

  /**
   * @param keptMs a saga that was not tried again for this long belongs to another instance
   * @param what failed, for `problem`: `not written`, `not read`
   */
  constructor(clock: Clock, keptMs: number, what: string) {
    this.#clock = clock
    this.#keptMs = keptMs
    this.#what = what
  }

  failed(saga: string, error: Error): void {
    this.#failures.delete(saga)
    this.#failures.set(saga, { saga, error, atMs: this.#clock.monotonic() })
    this.#forgetOld()
  }

  recovered(saga: string): void {
    if (this.#failures.size > 0) this.#failures.delete(saga)
  }

  /** Describes the latest failure and counts the others; `undefined` when there is none. */
  problem(): string | undefined {
    this.#forgetOld()
    const last = [...this.#failures.values()].at(-1)
    if (last === undefined) return undefined
    const others = this.#failures.size - 1
    const more = others === 0 ? '' : `, and ${others} more`
    return `saga ${last.saga}${more} ${this.#what}: ${last.error.message}`
  }

  /** Deletes failures that are older than the limit; the oldest come first. */
  #forgetOld(): void {
    const oldest = this.#clock.monotonic() - this.#keptMs
    for (const { saga, atMs } of this.#failures.values()) {
      if (atMs >= oldest) break
      this.#failures.delete(saga)
    }
  }
}
