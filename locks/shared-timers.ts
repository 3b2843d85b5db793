import { lastingContext } from '../core/async-contexts.ts'
import type { Clock } from '../core/clock.ts'
import { SwapRemoveSet } from './swap-remove-set.ts'

/** How much earlier than requested a call may happen, as a share of the delay: enough to combine many leases. */
const EARLY = 1 / 16

/**
 * Combined timers: those due at about the same time fire in one turn of the event loop, so that the renewals of many leases are
 * sent in one write. Never late by design, at most a sixteenth of the delay early.
 *
 * A timer stays until it fires, even if it is no longer needed: most leases end long before their first renewal, and setting and
 * clearing a timer for each costs more than a few idle ones. None keeps the process alive.
 */
export class SharedTimers {
  readonly #clock: Clock
  readonly #onLate: (lateMs: number) => void
  readonly #rounds = new Map<number, { readonly calls: SwapRemoveSet<() => void>; readonly cancel: () => void }>()
  /** Context of the locks' creation, because a round serves many leases. */
  readonly #detached: <T>(work: () => T) => T = lastingContext()

  /** @param onLate called in each round with the delay of the event loop */
  constructor(clock: Clock, onLate: (lateMs: number) => void) {
    this.#clock = clock
    this.#onLate = onLate
  }

  /** Schedules a call. Returns a function that cancels it. */
  after(delayMs: number, call: () => void): () => void {
    const now = this.#clock.monotonic()
    const grid = gridFor(delayMs)
    const at = Math.floor((now + delayMs) / grid) * grid
    const { calls } = this.#rounds.get(at) ?? this.#open(at, at - now)
    const place = calls.add(call)
    return () => calls.remove(place)
  }

  close(): void {
    for (const { cancel } of this.#rounds.values()) cancel()
    this.#rounds.clear()
  }

  #open(at: number, delayMs: number): { readonly calls: SwapRemoveSet<() => void> } {
    const calls = new SwapRemoveSet<() => void>()
    const callAll = (): void => {
      this.#rounds.delete(at)
      this.#onLate(this.#clock.monotonic() - at)
      for (const call of calls) call()
    }
    const cancel = this.#detached(() => this.#clock.setTimer(delayMs, callAll))
    const round = { calls, cancel }
    this.#rounds.set(at, round)
    return round
  }
}

/** Returns the largest power of two that is early enough, in ms, so that rounds of different delays coincide, too. */
function gridFor(delayMs: number): number {
  return 2 ** Math.max(0, Math.floor(Math.log2(delayMs * EARLY)))
}
