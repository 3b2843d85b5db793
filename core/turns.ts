import { type Clock, systemClock } from './clock.ts'

/** Longest run of callbacks and microtasks before the event loop gets a turn. */
export const LONGEST_RUN_MS = 10

/**
 * Lets the event loop turn between two calls of user code. A loop whose handlers never wait for I/O runs on microtasks
 * alone: no timer, heartbeat, acknowledgement or signal of the process is served until the whole backlog is done.
 *
 * Call `isDue()` after each call of user code, and go on in `next()` once it is true. All loops on one clock share one
 * measure, so many short loops in a row count as one run. A clock that stands still while code runs (fake, simulated) is
 * never due, which keeps simulations deterministic.
 */
export class Turns {
  readonly #clock: Clock
  /** When this run of the loop began; `undefined` until the first question after a turn. */
  #beganAt: number | undefined
  readonly #waiting: Array<() => void> = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether callbacks and microtasks have run for `LONGEST_RUN_MS` without a turn of the event loop. */
  isDue(): boolean {
    const now = this.#clock.monotonic()
    if (this.#beganAt === undefined) {
      this.#beganAt = now
      if (this.#waiting.length === 0) setImmediate(this.#turned)
      return false
    }
    return now - this.#beganAt >= LONGEST_RUN_MS
  }

  /** Calls `goOn` after a turn of the event loop. One waiting loop goes on per turn, first come, first served. */
  afterTurn(goOn: () => void): void {
    if (this.#waiting.push(goOn) === 1) setImmediate(this.#turned)
  }

  /** As `afterTurn`, as a promise. */
  next(): Promise<void> {
    return new Promise((resolve) => this.afterTurn(resolve))
  }

  /** Resolves at once unless a turn is due: `await` it between two calls of user code in an asynchronous loop. */
  async give(): Promise<void> {
    if (this.isDue()) await this.next()
  }

  readonly #turned = (): void => {
    this.#beganAt = undefined
    const goOn = this.#waiting.shift()
    if (this.#waiting.length > 0) setImmediate(this.#turned)
    goOn?.()
  }
}

const ofClocks = new WeakMap<Clock, Turns>()

/** The turns of all loops on this clock. */
export function turnsOf(clock: Clock = systemClock): Turns {
  let turns = ofClocks.get(clock)
  if (turns === undefined) ofClocks.set(clock, (turns = new Turns(clock)))
  return turns
}
