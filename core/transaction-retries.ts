/**
 * Retries of transactions that the database rolled back because of another transaction. The rollback undid the whole transaction,
 * so running it again is safe. All parts that retry use these limits and pauses.
 */
import { type Backoff, backoffDelayMs } from './backoff.ts'
import { type Clock, SECOND } from './clock.ts'
import { writeFault } from './write-fault.ts'

export const MOST_BUSY_TRIES = 20
/** Full jitter, so that transactions in conflict do not meet again at the same moment. */
const PAUSES: Backoff = { initialMs: 20, factor: 2, maxMs: 1 * SECOND, jitter: 1 }
/** Counted from the first conflict, because one attempt may already have waited long for a lock. */
const MAX_MS = 10 * SECOND

/** Pause before the next attempt, in ms. @param made number of attempts that the database rolled back so far */
export function busyPauseMs(made: number): number {
  return backoffDelayMs(PAUSES, made, Math.random())
}

/** Retries one call after a serialization failure, a deadlock or a lock held by another call. */
export class BusyTries {
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  readonly #maxMs: number
  readonly #inVain: (waitedMs: number) => void
  #made = 0
  #since: number | undefined

  /** @param inVain receives the waiting time of the call when it gives up */
  constructor(clock: Clock, signal?: AbortSignal, maxMs = MAX_MS, inVain: (waitedMs: number) => void = () => {}) {
    this.#clock = clock
    this.#signal = signal
    this.#maxMs = maxMs
    this.#inVain = inVain
  }

  /** Number of attempts that the database rolled back so far. */
  get made(): number {
    return this.#made
  }

  /**
   * Resolves with true after a pause: run the transaction again. With false: throw the error.
   * @param during runs the pause, for a caller that gives its place to others meanwhile
   * @throws the reason of the signal
   */
  async wait(
    error: unknown,
    during: (pause: () => Promise<void>) => Promise<void> = (pause) => pause(),
  ): Promise<boolean> {
    if (writeFault(error) !== 'busy' || this.#signal?.aborted === true) return false
    const now = this.#clock.monotonic()
    this.#since ??= now
    const leftMs = this.#maxMs - (now - this.#since)
    if (this.#made + 1 >= MOST_BUSY_TRIES || leftMs <= 0) {
      this.#inVain(now - this.#since)
      return false
    }
    this.#made++
    const pauseMs = Math.min(busyPauseMs(this.#made), leftMs)
    await during(() => this.#clock.sleep(pauseMs, this.#signal))
    return true
  }
}

/** How long a call waits for a lock while it holds a place that others need. */
const PLACE_MS = 0.8 * SECOND
/** Share of the time that calls may wait in vain. */
const VAIN_SHARE = 0.1

/**
 * Limits how long calls wait for locks while each holds a place that others need. One call waits for 0.8 s, or `mostMs`.
 * Unsuccessful waits take at most a tenth of the time: if many calls need one lock that stays held, the first one waits, and the
 * others give up at once.
 */
export class PlacePatience {
  readonly #clock: Clock
  readonly #mostMs: number
  #leftMs: number
  #at: number

  constructor(clock: Clock, mostMs: number = PLACE_MS) {
    this.#clock = clock
    this.#mostMs = mostMs
    this.#leftMs = mostMs
    this.#at = clock.monotonic()
  }

  /** The attempts of one call. */
  tries(signal: AbortSignal): BusyTries {
    return new BusyTries(this.#clock, signal, this.#refilled(), (waitedMs) => {
      this.#leftMs = Math.max(0, this.#refilled() - waitedMs)
    })
  }

  #refilled(): number {
    const now = this.#clock.monotonic()
    this.#leftMs = Math.min(this.#mostMs, this.#leftMs + (now - this.#at) * VAIN_SHARE)
    this.#at = now
    return this.#leftMs
  }
}

/** Runs `work`, which is one transaction, and repeats it as long as `BusyTries` allows. @throws the error of the last attempt */
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
