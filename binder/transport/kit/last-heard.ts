import type { Clock } from '../../../core/clock.ts'
import { elapsedMs, type Instant, readInstant } from '../../../core/elapsed-time.ts'
import { type EventLoopTurns, turnsOf } from '../../../core/event-loop-turns.ts'

/** Share of a lease or session that a process gives up, for clocks that run at different speeds and answers that take their time. */
const MARGIN = 0.1

/**
 * When the server last confirmed that this process holds its place. A process that was stopped, or whose machine was
 * suspended, asks this before it begins a message: timers and sockets may tell it of its loss only afterwards.
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

  /** For `heard`: when a question leaves, since the server counts from when it arrived. */
  now(): Instant {
    return readInstant(this.#clock)
  }

  /** The server confirmed it. @param sentAt when it was asked. @default now */
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
   * Whether no other process can have the place yet, as of when the message that is asked about was begun (`Turns.wallTime`).
   * Deliveries ask several times for each message, so an answer holds for the rest of its millisecond of wall time; a machine
   * that was suspended wakes up in another one.
   *
   * @param limitMs how long the server keeps it without a sign of life
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

/** Stands in for the signal of a loan while the place is not certain: nothing begins under it, and what has begun goes on. */
export function uncertainSignal(): AbortSignal {
  uncertain ??= AbortSignal.abort(
    new Error('the place in the group is not certain: nothing was heard from the server for too long'),
  )
  return uncertain
}
