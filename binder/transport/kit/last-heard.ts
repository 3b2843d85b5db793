import type { Clock } from '../../../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../../../core/elapsed-time.ts'
import { type EventLoopTurns, turnsOf } from '../../../core/event-loop-turns.ts'

/** Share of a lease or session by which a process stops early, for clocks that run at different speeds and slow responses. */
const MARGIN = 0.1

/**
 * When the server last confirmed that this process holds its place. A process that was stopped, or whose machine was suspended,
 * checks this before it starts a message: timers and sockets may report the loss only afterwards.
 */
export class LastHeard {
  readonly #clock: Clock
  readonly #turns: EventLoopTurns
  #at: Instant
  #certainAt: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#turns = turnsOf(clock)
    this.#at = this.now()
  }

  /** For `heard`: the time at which a request is sent, because the server counts from its arrival. */
  now(): Instant {
    return readInstant(this.#clock)
  }

  /** The server confirmed the place. @param sentAt when the request was sent. @default now */
  heard(sentAt: Instant = this.now()): void {
    this.#at = sentAt
  }

  /** On the monotonic clock. */
  get at(): number {
    return this.#at.monotonicMs
  }

  get silentMs(): number {
    return elapsedMs(this.#at, this.now())
  }

  /**
   * True if no other process can have the place yet, as of the start of the message in question (`Turns.wallTime`). Deliveries
   * ask several times for each message, so an answer is valid for the rest of its millisecond of wall time; a machine that was
   * suspended wakes up in another one.
   *
   * @param limitMs how long the server keeps the place without a sign of life
   */
  isCertain(limitMs: number): boolean {
    const wallMs = this.#turns.wallTime
    if (wallMs === this.#certainAt) return true
    const begun = { monotonicMs: this.#clock.monotonic(), wallMs }
    const isCertain = elapsedMs(this.#at, begun) < limitMs * (1 - MARGIN)
    this.#certainAt = isCertain ? wallMs : undefined
    return isCertain
  }
}

let uncertain: AbortSignal | undefined

/** Replaces the signal of a loan while the place is not certain: nothing new starts under it, and started work continues. */
export function uncertainSignal(): AbortSignal {
  uncertain ??= AbortSignal.abort(
    new Error('the place in the group is not certain: nothing was heard from the server for too long'),
  )
  return uncertain
}
