import { lastingContext } from '../../core/ambient.ts'
import type { TransportHost } from '../transport/transport.ts'
import type { Database } from './database.ts'
import type { TransportTables } from './tables.ts'

export interface DelaysParts {
  readonly host: TransportHost
  readonly database: Database
  readonly tables: TransportTables
  /** These partitions have something that has become due. */
  wrote(parts: ReadonlySet<number>): void
}

/** Every process looks so often whether something is due, whoever delayed it. */
const LOOK_MS = 1_000
/** Moved in one statement. */
const BATCH = 500

/** Moves what is due into the log, by the server's clock. */
export class Delays {
  readonly #parts: DelaysParts
  #cancel: (() => void) | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #isLooking = false
  #closed = false

  constructor(parts: DelaysParts) {
    this.#parts = parts
  }

  /** Begins to look; a second call changes nothing. */
  start(): void {
    if (this.#cancel === undefined && !this.#isLooking) this.#lookIn(0)
  }

  /** Something is due in so many ms. */
  expect(durationMs: number): void {
    if (!this.#isLooking) this.#lookIn(durationMs)
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #lookIn(durationMs: number): void {
    if (this.#closed) return
    const { clock } = this.#parts.host
    const waitMs = Math.min(durationMs, LOOK_MS)
    const at = clock.monotonic() + waitMs
    if (this.#cancel !== undefined && at >= this.#dueAt) return
    this.#cancel?.()
    this.#dueAt = at
    const look = (): void => {
      this.#cancel = undefined
      void this.#look()
    }
    this.#cancel = lastingContext()(() => clock.setTimer(waitMs, look))
  }

  async #look(): Promise<void> {
    const { database, tables } = this.#parts
    this.#isLooking = true
    let nextMs = LOOK_MS
    try {
      const { rows } = await database.query<{ part: number | null; next_ms: number | null }>(
        'move what is due',
        `SELECT part, next_ms FROM ${tables.promote}($1)`,
        [BATCH],
      )
      const parts = new Set(rows.flatMap(({ part }) => (part === null ? [] : [part])))
      if (parts.size > 0) this.#parts.wrote(parts)
      const next = rows.find(({ part }) => part === null)?.next_ms
      if (typeof next === 'number') nextMs = Math.max(0, next) + 1
    } catch {
      // Health says so; it is looked for again.
    }
    this.#isLooking = false
    this.#lookIn(nextMs)
  }
}
