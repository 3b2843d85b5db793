import type { Clock } from '../core/clock.ts'
import type { EventEnvelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

interface SeenOptions {
  readonly clock: Clock
  readonly windowMs: number
  readonly maxEvents: number
  /**
   * This instance. Its clock may have been ahead for a moment: a forgotten time of its own that is further ahead than `maxSkewMs`
   * would make it consider its own events old until that time. @default none
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

/** Number of senders whose last forgotten time is kept separately; further ones share one. */
const MAX_SENDERS = 10_000

/**
 * Recent events by sender and id: each is handled once, and a repetition gets the stored answer. Bounded in time and number. A
 * forgotten event leaves its time: no event of that sender as old as that is treated as new. Otherwise a flood, or this clock set
 * back, would make room for repetitions. This applies to that sender only, because the clock of one sender says nothing about
 * another's.
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

  /** Returns true if the event is new, and records it. */
  begin(event: EventEnvelope): boolean {
    this.#forgetOld()
    const key = keyOf(event)
    if (this.#entries.has(key)) return false
    const { sender, time } = event
    this.#entries.set(key, { at: this.#options.clock.monotonic(), sender, time, outcome: undefined })
    if (this.#entries.size > this.#options.maxEvents) this.#forgetFirst()
    return true
  }

  /** Tells whether it may be a forgotten one. */
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

  /** Entries are in the order of their arrival, so the oldest are first. */
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

/** An id alone does not identify an event, because senders may choose their own. No address contains a space. */
function keyOf({ sender, id }: EventEnvelope): string {
  return `${sender} ${id}`
}
