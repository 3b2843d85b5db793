import { type Clock, isOnVirtualTime, systemClock } from './clock.ts'

/** Longest run of callbacks and microtasks before the event loop gets a turn. */
export const LONGEST_RUN_MS = 10

/**
 * Gives the event loop a turn between two calls of user code. A loop whose handlers never wait for I/O runs on microtasks alone:
 * no timer, heartbeat, acknowledgement or signal is processed until the whole backlog is done.
 *
 * Call `isDue()` after each call of user code, and continue in `next()` if it returns true. All loops on one clock share one
 * measurement, so that a row of short loops counts as one run. Never due on a clock that does not move while code runs (a fake
 * clock), nor on virtual time, so that simulations stay deterministic.
 */
export class EventLoopTurns {
  readonly #clock: Clock
  /** Start of this run; `undefined` until the first question after a turn. */
  #beganAt: number | undefined
  /** Time of the last question about this run. */
  #askedAt = 0
  readonly #waiting: Array<() => void> = []
  #isAsked = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True if callbacks and microtasks have run for `LONGEST_RUN_MS` without a turn of the event loop. */
  isDue(): boolean {
    if (isOnVirtualTime()) return false
    const now = this.#clock.now()
    this.#askedAt = now
    if (this.#beganAt === undefined) {
      this.#beganAt = now
      this.#askForTurn()
      return false
    }
    const ranMs = now - this.#beganAt
    return ranMs >= LONGEST_RUN_MS || ranMs < 0
  }

  /** Reads the clock for `wallTime`: call it after user code, which may have run for long. */
  look(): void {
    this.#askedAt = this.#clock.now()
  }

  /**
   * Wall time of the last `look()` or `isDue()` (which loops call before each item) while its run continues; the current time
   * otherwise. Reading a clock costs more than everything else that is decided per message.
   */
  get wallTime(): number {
    return this.#beganAt === undefined ? this.#clock.now() : this.#askedAt
  }

  /** Calls `goOn` after a turn of the event loop. One waiting loop continues per turn, first come, first served. */
  afterTurn(goOn: () => void): void {
    this.#waiting.push(goOn)
    this.#askForTurn()
  }

  /** Same as `afterTurn`, as a promise. */
  next(): Promise<void> {
    return new Promise((resolve) => this.afterTurn(resolve))
  }

  /** Resolves at once unless a turn is due: `await` it between two calls of user code in an asynchronous loop. */
  async give(): Promise<void> {
    if (this.isDue()) await this.next()
  }

  /** Once per turn: with two immediates in one turn, the second would continue a loop that has only just started to wait. */
  #askForTurn(): void {
    if (this.#isAsked) return
    this.#isAsked = true
    setImmediate(this.#turned)
  }

  readonly #turned = (): void => {
    this.#isAsked = false
    this.#beganAt = undefined
    const goOn = this.#waiting.shift()
    if (this.#waiting.length > 0) this.#askForTurn()
    goOn?.()
  }
}

const ofClocks = new WeakMap<Clock, EventLoopTurns>()

/** The turns of all loops on this clock. */
export function turnsOf(clock: Clock = systemClock): EventLoopTurns {
  let turns = ofClocks.get(clock)
  if (turns === undefined) ofClocks.set(clock, (turns = new EventLoopTurns(clock)))
  return turns
}
