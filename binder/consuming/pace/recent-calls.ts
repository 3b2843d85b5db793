import type { ResolvedCircuitBreaker } from '../../bindings/batch-rate-breaker-options.ts'

/** Outcomes of the last handler calls. */
export class RecentCalls {
  readonly #limits: Pick<ResolvedCircuitBreaker, 'failures' | 'failureRate' | 'minimum'>
  /** The last `minimum` calls as a ring: 1 for each that failed. */
  readonly #last: Uint8Array
  #failuresInRow = 0
  #noted = 0
  #failedRecently = 0

  constructor(limits: Pick<ResolvedCircuitBreaker, 'failures' | 'failureRate' | 'minimum'>) {
    this.#limits = limits
    this.#last = new Uint8Array(limits.minimum)
  }

  note(failed: boolean): void {
    this.#failuresInRow = failed ? this.#failuresInRow + 1 : 0
    const place = this.#noted++ % this.#last.length
    this.#failedRecently += Number(failed) - (this.#last[place] ?? 0)
    this.#last[place] = Number(failed)
  }

  isTooMuch(): boolean {
    const { failures, failureRate, minimum } = this.#limits
    if (this.#failuresInRow >= failures) return true
    return this.#noted >= minimum && this.#failedRecently / minimum >= failureRate
  }

  forget(): void {
    this.#failuresInRow = 0
    this.#last.fill(0)
    this.#noted = 0
    this.#failedRecently = 0
  }
}
