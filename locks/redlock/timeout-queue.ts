import type { Clock } from '../../core/clock.ts'
import { type Slot, SwapRemoveSet } from '../swap-remove-set.ts'

/** Something that waits for answers until `dueAt`, monotonic ms. */
export interface Limited {
  readonly dueAt: number
  /** The time is over. */
  expire(): void
}

/** A timer may be so much early. */
const TIMER_STEP_MS = 1

/**
 * The time limits of all that waits for servers, on one timer: nearly all get their answers long before, and to set and
 * clear a timer for each would be dearer than what it guards.
 */
export class TimeoutQueue {
  readonly #clock: Clock
  readonly #open = new SwapRemoveSet<Limited>()
  #timerAt = Number.POSITIVE_INFINITY
  #cancel: () => void = () => {}
  #none: PromiseWithResolvers<void> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** When something that may take so long is due. */
  dueAt(durationMs: number): number {
    return this.#clock.monotonic() + durationMs
  }

  begin(limited: Limited): Slot<Limited> {
    if (limited.dueAt < this.#timerAt) this.#arm(limited.dueAt)
    return this.#open.add(limited)
  }

  /** When all have answered. */
  end(place: Slot<Limited>): void {
    this.#open.remove(place)
    if (this.#open.size === 0) this.#none?.resolve()
  }

  /** Resolves when nothing waits. */
  async none(): Promise<void> {
    if (this.#open.size === 0) return
    this.#none ??= Promise.withResolvers()
    await this.#none.promise
  }

  #arm(at: number): void {
    this.#cancel()
    this.#timerAt = at
    this.#cancel = this.#clock.setTimer(Math.max(0, at - this.#clock.monotonic()), () => {
      const now = this.#clock.monotonic() + TIMER_STEP_MS
      // After a stall of the event loop the timer is due before answers that came long ago are read: read them first.
      setImmediate(() => setImmediate(() => this.#expire(now)))
    })
  }

  #expire(now: number): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    let next = Number.POSITIVE_INFINITY
    for (const limited of this.#open) {
      if (limited.dueAt <= now) limited.expire()
      else next = Math.min(next, limited.dueAt)
    }
    // A question that began in between may have set it already.
    if (next < this.#timerAt) this.#arm(next)
  }
}

/** Outcome of a question to one server. */
export type NodeReply =
  | { readonly kind: 'answer'; readonly answer: unknown }
  /** No answer in time, or not reached. `unknown`: it may have been executed, or may yet be. */
  | { readonly kind: 'silent'; readonly outcome: 'not_done' | 'unknown'; readonly detail: string }
  /** The server answered, and will answer the same again. */
  | { readonly kind: 'refused'; readonly detail: string }
