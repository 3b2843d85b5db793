/**
 * Transactions that stay prepared: each holds its rows, and keeps `VACUUM` from its work. One that is old waits for a saga
 * that is not decided, or is nobody's any more. Nothing here ends one: only its saga knows how.
 */
import { lastingContext } from '../../core/ambient.ts'
import { type Clock, MINUTE, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { type Logger } from '../../core/logger.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import { MOST_BYTES_POSTGRES } from './xa-gate.ts'
import { GID_PREFIX } from './xa-gid.ts'
import type { PreparedTransaction, XaResource } from './xa-resource.ts'

/** A saga that is decided at all is decided by then: most are within seconds, and a participant that is away is asked for longer. */
export const PREPARED_LIMIT_MS: number = 5 * MINUTE
const MOST = 20

/** Those older than that, the oldest first, at most twenty. */
export async function oldPrepared(sql: SqlExecutor, olderThanMs: number): Promise<readonly PreparedTransaction[]> {
  const { rows } = await sql.query<{ gid: string; ageMs: number }>(
    `SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::float8 AS "ageMs" FROM pg_prepared_xacts
     WHERE database = current_database() AND prepared < clock_timestamp() - $1::float8 * interval '1 millisecond'
     ORDER BY prepared LIMIT ${MOST}`,
    [olderThanMs],
  )
  return rows.map(({ gid, ageMs }) => ({ gid, ageMs, key: keyOf(gid) }))
}

/** Where transactions are left prepared. */
export type PreparedSource = Pick<XaResource, 'old'>

/** The participant's own database. */
export function ownSource(sql: SqlExecutor): PreparedSource {
  return { old: (olderThanMs) => oldPrepared(sql, olderThanMs) }
}

/** `concordat:<whose>:<n>:<key>` */
export function keyOf(gid: string): string | undefined {
  if (!gid.startsWith(GID_PREFIX)) return undefined
  const key = gid.slice(GID_PREFIX.length).split(':').slice(2).join(':')
  return key === '' ? undefined : key
}

/** What to do about one, on one line. */
export function remedyOf({ gid, key = '' }: PreparedTransaction): string {
  const byHand = 'End it by hand only when that saga is gone or has ended'
  // A name that has no room for all of its key has lost the end of that.
  const isCut = gid.length >= MOST_BYTES_POSTGRES && gid.endsWith(`:${key}`)
  if (isCut && key.includes('/')) return `act on its saga, whose name and id begin with ${key}. ${byHand}`
  // Names of sagas and steps hold no slash; an id may, and that of a sub-saga does.
  const saga = key.slice(0, key.lastIndexOf('/'))
  return saga.includes('/')
    ? `act on its saga: npx concordat saga show ${saga}. ${byHand}`
    : 'it is not ours: COMMIT PREPARED or ROLLBACK PREPARED, as its owner decides'
}

/** What a service says of the transactions that its XA participants left prepared. */
export interface PreparedHealth {
  /** `down`: some are older than the limit, or a database does not answer. */
  readonly status: 'idle' | 'up' | 'down'
  readonly detail?: string | undefined
  readonly error?: string | undefined
  /** Those older than the limit, at most twenty; at most 30 s old. */
  readonly old: readonly PreparedTransaction[]
}

export interface PreparedWatchOptions {
  readonly sources: readonly PreparedSource[]
  readonly clock: Clock
  readonly logger: Logger
  readonly olderThanMs: number
  readonly everyMs?: number | undefined
}

const EVERY_MS = 30 * SECOND

/** Looks now and then for transactions that are prepared for too long, and tells of each once. */
export class PreparedWatch {
  readonly #options: PreparedWatchOptions
  readonly #stop = new AbortController()
  readonly #told = new Set<string>()
  #running: Promise<void> | undefined
  #old: readonly PreparedTransaction[] = []
  #error: Error | undefined

  constructor(options: PreparedWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#running ??= lastingContext()(() => this.#run())
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  health(): PreparedHealth {
    const [oldest] = this.#old
    if (this.#running === undefined) return { status: 'idle', old: [] }
    if (this.#error !== undefined) return { status: 'down', error: this.#error.message, old: this.#old }
    if (oldest === undefined) return { status: 'up', old: [] }
    const seconds = Math.round(oldest.ageMs / SECOND)
    const more = this.#old.length > 1 ? `, and ${this.#old.length - 1} more` : ''
    const detail = `${oldest.gid} is prepared for ${seconds} s${more}: ${remedyOf(oldest)}`
    return { status: 'down', detail, old: this.#old }
  }

  async #run(): Promise<void> {
    const { clock, everyMs = EVERY_MS } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.#look()
      await clock.sleep(everyMs, signal).catch(() => {})
    }
  }

  async #look(): Promise<void> {
    const { sources, logger, olderThanMs } = this.#options
    const looks = await Promise.allSettled(sources.map(async (source) => source.old(olderThanMs)))
    const found = looks.flatMap((look) => (look.status === 'fulfilled' ? look.value : []))
    const failed = looks.find((look) => look.status === 'rejected')
    this.#error = failed && toError(failed.reason)
    // What a database that does not answer had is not known to be over.
    if (failed !== undefined && found.length === 0) return
    this.#old = found.toSorted((a, b) => b.ageMs - a.ageMs).slice(0, MOST)
    const there = new Set(this.#old.map(({ gid }) => gid))
    for (const gid of this.#told) if (!there.has(gid)) this.#told.delete(gid)
    for (const one of this.#old) {
      if (this.#told.has(one.gid)) continue
      this.#told.add(one.gid)
      const fields = { gid: one.gid, ageMs: Math.round(one.ageMs), key: one.key }
      logger.warn(fields, `a transaction is prepared for too long: ${remedyOf(one)}`)
    }
  }
}
