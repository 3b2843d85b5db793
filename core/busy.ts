/**
 * Retries of transactions that the database rolled back because of another transaction. The rollback undid all of the transaction,
 * so running it again is safe. All parts that retry use these limits and pauses.
 */
import { type Backoff, backoffDelayMs } from './backoff.ts'
import { type Clock, SECOND } from './clock.ts'
import { writeFault } from './write-fault.ts'

export const MOST_BUSY_TRIES = 20
/** Full jitter: transactions that conflicted do not conflict again at the same moment. */
const PAUSES: Backoff = { initialMs: 20, factor: 2, maxMs: 1 * SECOND, jitter: 1 }
/** Counted from the first conflict, since one try may already have waited long for a lock. */
const MAX_MS = 10 * SECOND

/** Pause before the next try, in ms. @param made tries that the database rolled back so far */
export function busyPauseMs(made: number): number {
  return backoffDelayMs(PAUSES, made, Math.random())
}

/** Retries one call after a serialization failure, a deadlock or a lock that another call holds. */
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

  /** Tries that the database rolled back so far. */
  get made(): number {
    return this.#made
  }

  /** Resolves with true after a pause: run the transaction again. With false: throw the error. @throws the reason of the signal */
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

/** Runs `work`, which is one transaction, again for as long as `BusyTries` lets it. @throws what the last try threw */
export async function untilFree<T>(clock: Clock, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const busy = new BusyTries(clock, signal)
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(await busy.wait(error))) throw error
    }
  }
}
