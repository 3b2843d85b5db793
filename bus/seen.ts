import type { Clock } from '../core/clock.ts'
import type { EventEnvelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

export interface SeenOptions {
  readonly clock: Clock
  readonly windowMs: number
  readonly maxEvents: number
}

interface Entry {
  readonly at: number
  readonly time: number
  /** `undefined` while it is handled. */
  outcome: Outcome | undefined
}

/**
 * The events of the last while, by sender and id: each is handled once, and one that comes again is answered from here.
 * Bounded in time and in number. What had to go before its time because there were too many leaves its time behind:
 * nothing as old as that is taken for new, or a flood would make room for what was heard before.
 */
export class SeenEvents {
  readonly #options: SeenOptions
  readonly #entries = new Map<string, Entry>()
  #forgottenUpTo = Number.NEGATIVE_INFINITY

  constructor(options: SeenOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  /** True when it is new, and from now on is not. */
  begin(event: EventEnvelope): boolean {
    this.#forgetOld()
    const key = keyOf(event)
    if (this.#entries.has(key)) return false
    this.#entries.set(key, { at: this.#options.clock.monotonic(), time: event.time, outcome: undefined })
    if (this.#entries.size > this.#options.maxEvents) this.#forgetFirst()
    return true
  }

  /** Whether it may be one that had to be forgotten too early. */
  isForgotten({ time }: EventEnvelope): boolean {
    return time <= this.#forgottenUpTo
  }

  end(event: EventEnvelope, outcome: Outcome): void {
    const entry = this.#entries.get(keyOf(event))
    if (entry !== undefined) entry.outcome = outcome
  }

  has(event: EventEnvelope): boolean {
    this.#forgetOld()
    return this.#entries.has(keyOf(event))
  }

  outcomeOf(event: EventEnvelope): Outcome | undefined {
    return this.#entries.get(keyOf(event))?.outcome
  }

  /** Entries are in the order of their coming, so the old ones are first. */
  #forgetOld(): void {
    const { clock, windowMs } = this.#options
    const limit = clock.monotonic() - windowMs
    for (const [key, { at }] of this.#entries) {
      if (at > limit) return
      this.#entries.delete(key)
    }
  }

  #forgetFirst(): void {
    for (const [key, { time }] of this.#entries) {
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, time)
      this.#entries.delete(key)
      return
    }
  }
}

/** An id alone does not name an event: senders may choose their own. No address has a space. */
function keyOf({ sender, id }: EventEnvelope): string {
  return `${sender} ${id}`
}
