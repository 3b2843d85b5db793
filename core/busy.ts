/** Repeats a transaction that the database ended because it was busy: nothing of it was done, and nothing is wrong with it. */
import { type Backoff, backoffDelayMs } from '../core/backoff.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import { writeFault } from '../core/write-fault.ts'

/** The pauses are random, so that those who met do not meet again. */
const MAX_TRIES = 20
/** After the first try that ended so: a try may itself have waited long for a lock. */
const MAX_MS = 10 * SECOND
const PAUSES: Backoff = { initialMs: 20, factor: 2, maxMs: 1 * SECOND, jitter: 1 }

/** Counts the tries of one call that end by a serialization failure, a deadlock, or something that another call holds. */
export class BusyTries {
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #made = 0
  #since: number | undefined

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
  }

  /** How many tries ended because the database was busy. */
  get made(): number {
    return this.#made
  }

  /** Resolves with true after a pause when the transaction is to be made again; false: the error is the caller's. */
  async wait(error: unknown): Promise<boolean> {
    if (writeFault(error) !== 'busy' || this.#signal.aborted) return false
    const now = this.#clock.monotonic()
    this.#since ??= now
    if (this.#made + 1 >= MAX_TRIES || now - this.#since > MAX_MS) return false
    this.#made++
    await this.#clock.sleep(backoffDelayMs(PAUSES, this.#made, Math.random()), this.#signal)
    return true
  }
}
