import { type Clock, SECOND } from '../core/clock.ts'

/** Time after which an untouched lock is stale: ten heartbeats. */
const STILL_MS = 20 * SECOND
/** A starter that was stopped itself has seen nothing meanwhile: one check counts for at most this long. */
const MAX_LOOK_MS = 1 * SECOND

interface Seen {
  readonly text: string
  readonly touchedAt: number
  readonly lookedAt: number
  readonly stillMs: number
  readonly hasBeaten: boolean
}

/** Tracks which files were touched since this process first checked them, by its own monotonic clock. */
export class StaleLockWatch {
  readonly #clock: Clock
  readonly #seen = new Map<string, Seen>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `unknown`: not watched for long enough. @param touchedAt by any clock: it is only compared with its own past */
  look(path: string, text: string, touchedAt: number): 'alive' | 'dead' | 'unknown' {
    const lookedAt = this.#clock.monotonic()
    const found = this.#seen.get(path)
    const before = found?.text === text ? found : undefined
    const isStill = before?.touchedAt === touchedAt
    const stillMs = isStill ? before.stillMs + Math.min(lookedAt - before.lookedAt, MAX_LOOK_MS) : 0
    const hasBeaten = before !== undefined && (before.hasBeaten || !isStill)
    this.#seen.set(path, { text, touchedAt, lookedAt, stillMs, hasBeaten })
    if (stillMs >= STILL_MS) return 'dead'
    return hasBeaten ? 'alive' : 'unknown'
  }
}
