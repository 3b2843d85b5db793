import type { Clock } from '../core/clock.ts'
import type { EventEnvelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

interface SeenOptions {
  readonly clock: Clock
  readonly windowMs: number
  readonly maxEvents: number
  /**
   * This instance. Its clock may have been ahead for a moment: a forgotten time of its own that is further ahead than
   * `maxSkewMs` would make it take its own events for old until that time has come. @default none
   */
  readonly own?: { readonly sender: string; readonly maxSkewMs: number } | undefined
}

interface Entry {
  readonly at: number
  readonly sender: string
  readonly time: number
  /** `undefined` while it is handled. */
  outcome: Outcome | undefined
}

/** Senders whose last forgotten time is kept apart; beyond, the eldest of them share one. */
const MAX_SENDERS = 10_000

/**
 * The events of the last while, by sender and id: each is handled once, and one that comes again is answered from here.
 * Bounded in time and in number. What is forgotten leaves its time behind: nothing of that sender as old as that is taken
 * for new, or a flood, or our clock set back, would make room for what was heard before. Of that sender only: the clock
 * of another one says nothing about it.
 */
export class SeenEvents {
  readonly #options: SeenOptions
  readonly #entries = new Map<string, Entry>()
  readonly #forgottenUpTo = new Map<string, number>()
  /** Shared by all senders that are no longer tracked separately. */
  #othersForgottenUpTo = Number.NEGATIVE_INFINITY

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
    const { sender, time } = event
    this.#entries.set(key, { at: this.#options.clock.monotonic(), sender, time, outcome: undefined })
    if (this.#entries.size > this.#options.maxEvents) this.#forgetFirst()
    return true
  }

  /** Whether it may be one that was heard, and forgotten. */
  isForgotten({ sender, time }: EventEnvelope): boolean {
    return time <= (this.#forgottenUpTo.get(sender) ?? this.#othersForgottenUpTo)
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
    for (const [key, entry] of this.#entries) {
      if (entry.at > limit) return
      this.#forget(key, entry)
    }
  }

  #forgetFirst(): void {
    for (const [key, entry] of this.#entries) return this.#forget(key, entry)
  }

  #forget(key: string, { sender, time }: Entry): void {
    this.#entries.delete(key)
    const { own, clock } = this.#options
    if (own?.sender === sender && time - clock.now() > own.maxSkewMs) return
    const upTo = Math.max(time, this.#forgottenUpTo.get(sender) ?? this.#othersForgottenUpTo)
    // Keeps the most recently heard senders longest.
    this.#forgottenUpTo.delete(sender)
    this.#forgottenUpTo.set(sender, upTo)
    if (this.#forgottenUpTo.size <= MAX_SENDERS) return
    for (const [eldest, its] of this.#forgottenUpTo) {
      this.#othersForgottenUpTo = Math.max(this.#othersForgottenUpTo, its)
      this.#forgottenUpTo.delete(eldest)
      return
    }
  }
}

/** An id alone does not name an event: senders may choose their own. No address has a space. */
function keyOf({ sender, id }: EventEnvelope): string {
  return `${sender} ${id}`
}
