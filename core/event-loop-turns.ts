import { type Clock, isOnVirtualTime, systemClock } from './clock.ts'

/** Longest run of callbacks and microtasks before the event loop gets a turn. */
export const LONGEST_RUN_MS = 10

/**
 * Gives the event loop a turn between two calls of user code. A loop whose handlers never wait for I/O runs on microtasks alone: no
 * timer, heartbeat, acknowledgement or signal is served until the whole backlog is done.
 *
 * Call `isDue()` after each call of user code, and continue in `next()` when it returns true. All loops on one clock share one
 * measure, so a row of short loops counts as one run. Never due on a clock that does not move while code runs (a fake one),
 * nor on virtual time, which keeps simulations deterministic.
 */
export class EventLoopTurns {
  readonly #clock: Clock
  /** When this run of the loop began; `undefined` until the first question after a turn. */
  #beganAt: number | undefined
  /** When this run was last asked about. */
  #askedAt = 0
  readonly #waiting: Array<() => void> = []
  #isAsked = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether callbacks and microtasks have run for `LONGEST_RUN_MS` without a turn of the event loop. */
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

  /** Reads the clock for `wallTime`: after user code, which may have kept the loop for long. */
  look(): void {
    this.#askedAt = this.#clock.now()
  }

  /**
   * Wall time of the last `isDue()`, which loops call before each item, or `look()`, while its run goes on; the present time otherwise.
   * Reading a clock costs more than all else that is decided for a message.
   */
  get wallTime(): number {
    return this.#beganAt === undefined ? this.#clock.now() : this.#askedAt
  }

  /** Calls `goOn` after a turn of the event loop. One waiting loop goes on per turn, first come, first served. */
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

  /** Once per turn: of two immediates of one turn the second would let a loop go on that has only just begun to wait. */
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
