/**
 * Watches transactions that stay prepared: each holds its rows, and hinders `VACUUM`. An old one belongs to an undecided saga, or
 * has no owner any more. The watch ends none of them: only the saga knows how.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { type Clock, MINUTE, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { type Logger } from '../../core/logger.ts'
import { hasMethods } from '../../core/option-checks.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import { unlessAborted, within } from '../../core/time-limit.ts'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { GID_PREFIX } from './gid.ts'
import { MOST_BYTES_POSTGRES } from './prepared-branch-gate.ts'
import type { PreparedTransaction, XaResource } from './resource.ts'

/**
 * Age from which a prepared transaction is reported: most sagas are decided within seconds, and the rest have a participant that
 * is unavailable.
 */
export const PREPARED_LIMIT_MS: number = 5 * MINUTE
const MOST = 20

/** Transactions older than the limit, oldest first, at most twenty. */
export async function oldPrepared(sql: SqlExecutor, olderThanMs: number): Promise<readonly PreparedTransaction[]> {
  const { rows } = await sql.query<{ gid: string; ageMs: number }>(
    `SELECT gid, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::float8 AS "ageMs" FROM pg_prepared_xacts
     WHERE database = current_database() AND prepared < clock_timestamp() - $1::float8 * interval '1 millisecond'
     ORDER BY prepared LIMIT ${MOST}`,
    [olderThanMs],
  )
  return rows.map(({ gid, ageMs }) => ({ gid, ageMs, key: keyOf(gid) }))
}

/** Where transactions stay prepared. */
export type PreparedSource = Pick<XaResource, 'old'>

/** Returns the database in which a participant prepares: a resource, or that of a client. */
export function sourceOf(where: object): PreparedSource {
  return hasMethods(where, ['query'])
    ? { old: (olderThanMs) => oldPrepared(where as SqlExecutor, olderThanMs) }
    : (where as PreparedSource)
}

/** `concordat:<whose>:<n>:<key>` */
export function keyOf(gid: string): string | undefined {
  if (!gid.startsWith(GID_PREFIX)) return undefined
  const key = gid.slice(GID_PREFIX.length).split(':').slice(2).join(':')
  return key === '' ? undefined : key
}

/** Returns the remedy for a prepared transaction, on one line. */
export function remedyOf({ gid, key = '' }: PreparedTransaction): string {
  const byHand = 'End it by hand only when that saga is gone or has ended'
  // A name without space for the whole key lacks the end of the key.
  const isCut = gid.length >= MOST_BYTES_POSTGRES && gid.endsWith(`:${key}`)
  if (isCut && key.includes('/')) return `act on its saga, whose name and id begin with ${key}. ${byHand}`
  // Names of sagas and steps contain no slash; an id may, and that of a sub-saga does.
  const saga = key.slice(0, key.lastIndexOf('/'))
  return saga.includes('/')
    ? `act on its saga: npx concordat saga show ${saga}. ${byHand}`
    : 'it is not ours: COMMIT PREPARED or ROLLBACK PREPARED, as its owner decides'
}

/** Health of prepared transactions that a service's XA participants left. */
export interface PreparedHealth {
  /** `down`: some are older than the limit, or a database does not answer. `idle`: one has not answered yet. */
  readonly status: 'idle' | 'up' | 'down'
  readonly detail?: string | undefined
  readonly error?: string | undefined
  /** Transactions older than the limit, at most twenty; data at most 30 s old. */
  readonly old: readonly PreparedTransaction[]
}

interface PreparedWatchOptions {
  readonly sources: readonly PreparedSource[]
  readonly clock: Clock
  readonly logger: Logger
  readonly olderThanMs: number
  readonly everyMs?: number | undefined
}

const EVERY_MS = 30 * SECOND
/** After this time another connection is used, because this one may be dead. */
const GIVE_UP_MS = 30 * SECOND

/** Checks regularly for transactions that stay prepared for too long, and logs each once. */
export class PreparedWatch {
  readonly #options: PreparedWatchOptions
  readonly #sources: readonly WatchedSource[]
  readonly #stop = new AbortController()
  readonly #told = new Set<string>()
  #running: Promise<unknown> | undefined

  constructor(options: PreparedWatchOptions) {
    this.#options = options
    this.#sources = options.sources.map((source) => new WatchedSource(source, options.clock))
  }

  start(): void {
    this.#running ??= lastingContext()(() => Promise.all(this.#sources.map((source) => this.#watch(source))))
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  health(): PreparedHealth {
    const old = this.#old()
    const detail = detailOf(old)
    const error = this.#sources.map((source) => source.error).find((each) => each !== undefined)?.message
    if (error !== undefined) return { status: 'down', error, detail, old }
    if (detail !== undefined) return { status: 'down', detail, old }
    const isKnown = this.#sources.every((source) => source.old !== undefined)
    return { status: isKnown ? 'up' : 'idle', old }
  }

  /** A database that does not answer does not delay the others. */
  async #watch(source: WatchedSource): Promise<void> {
    const { clock, olderThanMs, everyMs = EVERY_MS } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      await source.look(olderThanMs, signal)
      this.#tell()
      await clock.sleep(everyMs, signal).catch(() => {})
    }
  }

  /** Returns the oldest first. Two clients of one database report the same ones. */
  #old(): readonly PreparedTransaction[] {
    const found = this.#sources.flatMap(({ old = [] }) => old)
    const byName = new Map(found.map((one) => [one.gid, one]))
    return [...byName.values()].toSorted((a, b) => b.ageMs - a.ageMs).slice(0, MOST)
  }

  #tell(): void {
    const old = this.#old()
    const there = new Set(old.map(({ gid }) => gid))
    for (const gid of this.#told) if (!there.has(gid)) this.#told.delete(gid)
    for (const one of old) {
      if (this.#told.has(one.gid)) continue
      this.#told.add(one.gid)
      const fields = { gid: one.gid, ageMs: Math.round(one.ageMs), key: one.key }
      this.#options.logger.warn(fields, `a transaction is prepared for too long: ${remedyOf(one)}`)
    }
  }
}

function detailOf([oldest, ...others]: readonly PreparedTransaction[]): string | undefined {
  if (oldest === undefined) return undefined
  const seconds = Math.round(oldest.ageMs / SECOND)
  const more = others.length > 0 ? `, and ${others.length} more` : ''
  return `${oldest.gid} is prepared for ${seconds} s${more}: ${remedyOf(oldest)}`
}

/** Last result from a database, and whether it still answers. */
class WatchedSource {
  readonly #source: PreparedSource
  readonly #clock: Clock
  readonly #silence: UnansweredCalls
  #old: readonly PreparedTransaction[] | undefined
  #error: Error | undefined

  constructor(source: PreparedSource, clock: Clock) {
    this.#source = source
    this.#clock = clock
    this.#silence = new UnansweredCalls(clock)
  }

  /** From its last answer: while a database does not answer, its transactions may still exist. `undefined`: no answer yet. */
  get old(): readonly PreparedTransaction[] | undefined {
    return this.#old
  }

  /** Error of the last check, or of one that has had no answer for too long. */
  get error(): Error | undefined {
    return this.#error ?? this.#silence.error
  }

  /** Checks. Never rejects. @param signal ends the wait */
  async look(olderThanMs: number, signal: AbortSignal): Promise<void> {
    const asked = (async () => this.#source.old(olderThanMs))()
    try {
      const look = this.#silence.track(asked, 'list prepared transactions')
      const found = await unlessAborted(signal, within(this.#clock, GIVE_UP_MS, look, undefined))
      this.#error = found === undefined ? this.#silence.error : undefined
      if (found === undefined) this.#silence.giveUp(look)
      else this.#old = found
    } catch (error) {
      if (!signal.aborted) this.#error = toError(error)
    }
  }
}
