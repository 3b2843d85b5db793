import type { Clock } from '../../core/clock.ts'
import { type Slot, SwapRemoveSet } from '../swap-remove-set.ts'

/** Waits for replies until `dueAt`, monotonic ms. */
export interface Limited {
  readonly dueAt: number
  /** The time is over. */
  expire(): void
}

/** A timer may fire this much too early. */
const TIMER_STEP_MS = 1

/**
 * The time limits of everything that waits for servers, on one timer: nearly all get their replies long before, and setting and
 * clearing a timer for each would cost more than the wait itself.
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

  /** The time at which a wait of this duration ends. */
  dueAt(durationMs: number): number {
    return this.#clock.monotonic() + durationMs
  }

  begin(limited: Limited): Slot<Limited> {
    if (limited.dueAt < this.#timerAt) this.#arm(limited.dueAt)
    return this.#open.add(limited)
  }

  /** Called when all have replied. */
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
      // After a stall of the event loop, the timer is due before earlier replies are read: read them first.
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
    // A question started in between may already have set it.
    if (next < this.#timerAt) this.#arm(next)
  }
}

/** Outcome of a question to one server. */
export type NodeReply =
  | { readonly kind: 'answer'; readonly answer: unknown }
  /** No reply in time, or not reached. `unknown`: it may have been executed, or may still be. */
  | { readonly kind: 'silent'; readonly outcome: 'not_done' | 'unknown'; readonly detail: string }
  /** The server replied, and would give the same reply again. */
  | { readonly kind: 'refused'; readonly detail: string }
