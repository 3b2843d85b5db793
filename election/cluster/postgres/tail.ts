import { lastingContext } from '../../../core/async-contexts.ts'
import type { Clock } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import type { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
import type { LogFollower } from '../store/cluster-store.ts'
import { type EntryRow, logEntry } from './row-conversion.ts'
import type { StoredLog } from './wakes.ts'

/** Maximum number of entries of a log in one answer. */
const PAGE = 256
const RETRY_MS = 50
const MAX_RETRY_MS = 1_000
const FIRST_PAUSE_MS = 5
/** Also the time within which a loss of reported entries is noticed. */
const LAST_PAUSE_MS = 1_000

interface Following extends StoredLog {
  readonly follower: LogFollower
  /** The last reported revision. */
  position: number
}

interface NewsRow {
  readonly n: number
  readonly ends: string
  readonly entries: readonly EntryRow[] | null
}

/**
 * Reads all logs that this process follows with one statement, after a notification and periodically without one: 5 ms after the
 * last news, doubled up to a second. With reliable notifications it only polls once a second.
 */
export class Tail {
  readonly #steps: StoreStatementRunner
  readonly #text: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #firstPauseMs: number
  readonly #followings = new Set<Following>()
  #isReading = false
  #isWoken = false
  #sleeping: AbortController | undefined
  #pauseMs: number
  #closed = false
  #problem: Error | undefined

  constructor(fields: { steps: StoreStatementRunner; schema: string; isTold: boolean; clock: Clock; logger: Logger }) {
    this.#steps = fields.steps
    this.#clock = fields.clock
    this.#logger = fields.logger
    this.#firstPauseMs = fields.isTold ? LAST_PAUSE_MS : FIRST_PAUSE_MS
    this.#pauseMs = this.#firstPauseMs
    this.#text = `SELECT n, ends::text AS ends, entries
      FROM ${fields.schema}.cluster_tail($1::text[], $2::text[], $3::bigint[], $4)`
  }

  follow(log: StoredLog, after: number, follower: LogFollower): () => void {
    const following: Following = { ...log, follower, position: after }
    this.#followings.add(following)
    this.wake()
    if (!this.#isReading) this.#start()
    return () => this.#followings.delete(following)
  }

  /** Called when there may be news. */
  wake(): void {
    this.#isWoken = true
    this.#sleeping?.abort()
  }

  /** Reason why the logs cannot be read; `undefined` while they are read or not needed. */
  get problem(): string | undefined {
    return this.#problem?.message
  }

  close(): void {
    this.#closed = true
    this.#followings.clear()
    this.wake()
  }

  #start(): void {
    if (this.#closed) return
    this.#isReading = true
    lastingContext()(() => this.#read()).catch((error: unknown) =>
      this.#warn(error, 'cluster: the reader of the logs ended'),
    )
  }

  async #read(): Promise<void> {
    let retryMs = RETRY_MS
    while (!this.#closed && this.#followings.size > 0) {
      this.#isWoken = false
      try {
        if (await this.#readOnce()) this.#pauseMs = this.#firstPauseMs
        else await this.#pause(this.#nextPauseMs())
        this.#problem = undefined
        retryMs = RETRY_MS
      } catch (error) {
        if (this.#closed) break
        this.#warn(error, 'cluster: cannot follow the logs, trying again')
        await this.#clock.sleep(retryMs)
        retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)
      }
    }
    this.#problem = undefined
    this.#isReading = false
  }

  #nextPauseMs(): number {
    const pauseMs = this.#pauseMs
    this.#pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS)
    return pauseMs
  }

  async #pause(durationMs: number): Promise<void> {
    if (this.#isWoken) return
    this.#sleeping = new AbortController()
    await this.#clock.sleep(durationMs, this.#sleeping.signal).catch(() => {})
    this.#sleeping = undefined
  }

  /** @returns true if there was news */
  async #readOnce(): Promise<boolean> {
    const logs = [...this.#places().values()]
    const rows = await this.#steps.run<NewsRow>(this.#text, [
      logs.map(({ cluster }) => cluster),
      logs.map(({ log }) => log),
      logs.map(({ position }) => String(position)),
      PAGE,
    ])
    for (const { n, ends, entries } of rows) this.#tell(logs[n - 1] as Following, Number(ends), entries ?? [])
    return rows.length > 0
  }

  /** Returns the position in each log after everything that all of its followers received. */
  #places(): Map<string, Following> {
    const places = new Map<string, Following>()
    for (const following of this.#followings) {
      const name = nameOf(following)
      const known = places.get(name)
      if (known === undefined || following.position < known.position) places.set(name, { ...following })
    }
    return places
  }

  #tell(of: Following, ends: number, rows: readonly EntryRow[]): void {
    const entries = rows.map(logEntry)
    const last = entries.at(-1)?.revision ?? ends
    for (const following of this.#followings) {
      if (nameOf(following) !== nameOf(of) || following.position < of.position) continue
      const missing = entries.filter(({ revision }) => revision > following.position)
      // The log was restored to an earlier state, or has lost its entries.
      const isGap = ends < following.position || (entries.length === 0 && ends > following.position)
      if (missing.length === 0 && !isGap) continue
      following.position = last
      this.#call(() => (isGap ? following.follower.onRollback() : following.follower.onEntries(missing)))
    }
  }

  #call(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#logger.error({ err: toError(error) }, 'cluster: a follower failed')
    }
  }

  #warn(error: unknown, message: string): void {
    const problem = toError(error)
    if (this.#problem?.message !== problem.message) this.#logger.warn({ err: error }, message)
    this.#problem = problem
  }
}

function nameOf({ cluster, log }: StoredLog): string {
  return JSON.stringify([cluster, log])
}
