/**
 * Limits of a transaction set by its client. The world keeps them in its own time: the timer that PostgreSQL starts for such a
 * limit would stop PGlite permanently.
 */
import { DAY, HOUR, MINUTE, SECOND } from 'concordat/core'
import type { EventQueue } from './event-queue.ts'

/** Counted from the last statement. */
export const IDLE = 'idle_in_transaction_session_timeout'
const LIMITS = [IDLE, 'transaction_timeout'] as const
export type Limit = (typeof LIMITS)[number]

const SETTING = new RegExp(
  `^\\s*SET\\s+(?:(?:LOCAL|SESSION)\\s+)?(${LIMITS.join('|')})\\s*(?:=|\\sTO\\s)\\s*'?\\s*(\\d+|DEFAULT)\\s*(ms|s|min|h|d)?\\s*'?\\s*;?\\s*$`,
  'i',
)
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: SECOND, min: MINUTE, h: HOUR, d: DAY }

/** Reads a statement that sets such a limit: its duration, 0 for none. `undefined`: another statement. */
export function limitSetBy(text: string): { readonly limit: Limit; readonly durationMs: number } | undefined {
  const [, name, value = '', unit = 'ms'] = SETTING.exec(text) ?? []
  const limit = LIMITS.find((each) => each === name?.toLowerCase())
  if (limit === undefined) return undefined
  const durationMs = /^\d/.test(value) ? Number(value) * (UNITS[unit.toLowerCase()] ?? 1) : 0
  return { limit, durationMs }
}

/** The limits of one open transaction. */
export class TransactionTimeouts {
  readonly #timeline: EventQueue
  readonly #durations = new Map<Limit, number>()
  readonly #begunAtMs: number
  readonly #end: (limit: Limit) => void
  #usedAtMs: number
  #isOver = false

  /** @param end called with the first limit that is exceeded */
  constructor(timeline: EventQueue, end: (limit: Limit) => void) {
    this.#timeline = timeline
    this.#begunAtMs = timeline.nowMs
    this.#usedAtMs = timeline.nowMs
    this.#end = end
  }

  /** A statement arrived: the idle time starts again. */
  used(): void {
    this.#usedAtMs = this.#timeline.nowMs
  }

  /** @param durationMs 0: none */
  set(limit: Limit, durationMs: number): void {
    const isWatched = this.#durations.has(limit)
    this.#durations.set(limit, durationMs)
    if (!isWatched) this.#watch(limit)
  }

  /** The transaction has ended. */
  close(): void {
    this.#isOver = true
  }

  #watch(limit: Limit): void {
    const endsAtMs = this.#endOf(limit)
    if (endsAtMs === undefined) return void this.#durations.delete(limit)
    this.#timeline.at(endsAtMs, () => {
      if (this.#isOver) return
      if ((this.#endOf(limit) ?? Number.POSITIVE_INFINITY) > this.#timeline.nowMs) return this.#watch(limit)
      this.close()
      this.#end(limit)
    })
  }

  #endOf(limit: Limit): number | undefined {
    const durationMs = this.#durations.get(limit) ?? 0
    if (durationMs === 0) return undefined
    return (limit === IDLE ? this.#usedAtMs : this.#begunAtMs) + durationMs
  }
}
