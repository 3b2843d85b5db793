/**
 * Work that the database took back because it was busy: nothing of it was done, and nothing is wrong with it. Whoever repeats such
 * work does so as often, and with the same pauses.
 */
import { type Backoff, backoffDelayMs } from './backoff.ts'
import { type Clock, SECOND } from './clock.ts'
import { writeFault } from './write-fault.ts'

export const MOST_BUSY_TRIES = 20
/** They are random, so that those who met do not meet again. */
const PAUSES: Backoff = { initialMs: 20, factor: 2, maxMs: 1 * SECOND, jitter: 1 }
/** After the first try that ended so: a try may itself have waited long for a lock. */
const MAX_MS = 10 * SECOND

/** How long to wait before the next try. @param made how many tries ended because the database was busy */
export function busyPauseMs(made: number): number {
  return backoffDelayMs(PAUSES, made, Math.random())
}

/** Counts the tries of one call that end by a serialization failure, a deadlock, or something that another call holds. */
export class BusyTries {
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  readonly #maxMs: number
  #made = 0
  #since: number | undefined

  constructor(clock: Clock, signal?: AbortSignal, maxMs = MAX_MS) {
    this.#clock = clock
    this.#signal = signal
    this.#maxMs = maxMs
  }

  /** How many tries ended because the database was busy. */
  get made(): number {
    return this.#made
  }

  /** Resolves with true after a pause when the transaction is to be made again; false: the error is the caller's. */
  async wait(error: unknown): Promise<boolean> {
    if (writeFault(error) !== 'busy' || this.#signal?.aborted === true) return false
    const now = this.#clock.monotonic()
    this.#since ??= now
    if (this.#made + 1 >= MOST_BUSY_TRIES || now - this.#since > this.#maxMs) return false
    this.#made++
    await this.#clock.sleep(busyPauseMs(this.#made), this.#signal)
    return true
  }
}
