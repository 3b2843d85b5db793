import { lastingContext } from '../../core/async-contexts.ts'
import type { LogContext } from './context.ts'

/** Interval at which every process checks for due messages of any sender. */
const LOOK_MS = 1_000
/** Maximum number of messages moved by one statement. */
const BATCH = 500
/** A clock that is behind by less was not set back. */
const SET_BACK_MS = 1_000

/**
 * Moves due messages into the log, by the server's clock. If that was set back, or a standby with an earlier clock has taken
 * over, earlier messages would wait longer by the difference, so their remaining wait is limited to their delay. Checked when a
 * process starts, and when the clock has fallen behind this process's monotonic clock.
 */
export class Delays {
  readonly #context: Pick<LogContext, 'host' | 'database' | 'tables'>
  readonly #wrote: (parts: ReadonlySet<number>) => void
  #cancel: (() => void) | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #isLooking = false
  #closed = false
  /** Minimum difference of the server's clock and the monotonic one, as of the last check. */
  #offsetMs = Number.POSITIVE_INFINITY

  /** @param wrote called with partitions in which a message has become due */
  constructor(context: Pick<LogContext, 'host' | 'database' | 'tables'>, wrote: (parts: ReadonlySet<number>) => void) {
    this.#context = context
    this.#wrote = wrote
  }

  /** Starts to check; a second call has no effect. */
  start(): void {
    if (this.#cancel === undefined && !this.#isLooking) this.#lookIn(0)
  }

  /** Announces a message that is due after this time. */
  expect(durationMs: number): void {
    if (!this.#isLooking) this.#lookIn(durationMs)
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #lookIn(durationMs: number): void {
    if (this.#closed) return
    const { clock } = this.#context.host
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
    const { database, tables, host } = this.#context
    this.#isLooking = true
    let nextMs = LOOK_MS
    try {
      const askedAt = host.clock.monotonic()
      const { rows } = await database.query<{ part: number | null; next_ms: number | null; now_ms: number }>(
        'move what is due',
        `SELECT moved.part, moved.next_ms, (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms
         FROM (SELECT) always LEFT JOIN ${tables.promote}($1) moved ON true`,
        [BATCH],
      )
      const nowMs = rows[0]?.now_ms ?? 0
      if (nowMs - askedAt < this.#offsetMs - SET_BACK_MS) {
        await this.#shorten()
        nextMs = 0
      }
      this.#offsetMs = nowMs - host.clock.monotonic()
      const parts = new Set(rows.flatMap(({ part }) => (part === null ? [] : [part])))
      if (parts.size > 0) this.#wrote(parts)
      const next = rows.find(({ part }) => part === null)?.next_ms
      if (typeof next === 'number' && nextMs > 0) nextMs = Math.max(0, next) + 1
    } catch {
      // Health reports it; the check is repeated.
    }
    this.#isLooking = false
    this.#lookIn(nextMs)
  }

  /** Limits the remaining wait of messages to their delay. */
  async #shorten(): Promise<void> {
    const { database, tables } = this.#context
    await database.query(
      'shorten what waits for too long',
      `UPDATE ${tables.delayed} SET due = now() + wait_ms * interval '1 ms' WHERE due > now() + wait_ms * interval '1 ms'`,
      [],
    )
  }
}
