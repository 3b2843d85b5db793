/**
 * What becomes of sagas that have ended: kept for `retentionMs`, and as long as any saga of which they are a part, near or
 * far, is open and may undo them; then archived and deleted, with their timelines, in one transaction. Several instances may do it at once. An id that is deleted can be started again.
 */
import { lastingContext } from '../../core/ambient.ts'
import type { Clock } from '../../core/clock.ts'
import { HOUR, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import type { SagaFailure, StepState } from '../machine/state.ts'
import { type TimelineRow } from '../store/rows.ts'
import { cleanTimeline } from '../store/store.ts'

/** Everything there was of a saga. */
export interface ArchivedSaga {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly status: 'completed' | 'compensated'
  readonly failure: SagaFailure | undefined
  readonly input: unknown
  readonly steps: readonly StepState[]
  readonly timeline: readonly TimelineRow[]
  /** Epoch ms, server time. */
  readonly startedAt: number
  readonly endedAt: number
}

/**
 * Called before sagas are deleted, at most 200 at a time. What it writes through `tx` is there exactly if they are
 * deleted; anything else it does may happen again. What it throws keeps them.
 */
export type Archive = (sagas: readonly ArchivedSaga[], context: { readonly tx: SqlTransaction }) => void | Promise<void>

export interface RetentionHost {
  readonly sql: SqlClient
  readonly schema: string
  /** `Infinity`: they are kept. */
  readonly retentionMs: number
  readonly archive: Archive
  readonly clock: Clock
  readonly logger: Logger
}

const BATCH = 200
const EVERY_MS = 1 * HOUR
const CLOSE_MS = 2 * SECOND

interface Ended extends Omit<ArchivedSaga, 'steps' | 'timeline' | 'failure'> {
  readonly state: { readonly steps: readonly StepState[]; readonly failure?: SagaFailure }
}

export class Retention {
  readonly #host: RetentionHost
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #event: string
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined

  constructor(host: RetentionHost) {
    this.#host = host
    const quoted = quoteIdentifier(host.schema)
    this.#query = ownQuery(host.schema, 'coordinator.migrate()')
    this.#saga = `${quoted}.saga`
    this.#event = `${quoted}.saga_event`
  }

  start(): void {
    if (this.#host.retentionMs === Number.POSITIVE_INFINITY || this.#stopping.signal.aborted) return
    this.#loop ??= lastingContext()(() => this.#run(this.#stopping.signal))
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    if (this.#loop !== undefined) await finishesWithin(this.#host.clock, CLOSE_MS, this.#loop)
  }

  /** Deletes what ended longer ago than this, batch after batch; returns how many. */
  async purge(olderThanMs: number, signal?: AbortSignal): Promise<number> {
    for (let total = 0; ; ) {
      const count = await this.#host.sql.transaction((tx) => this.#batch(tx, olderThanMs))
      total += count
      if (count < BATCH || signal?.aborted === true) return total
    }
  }

  async #batch(tx: SqlTransaction, olderThanMs: number): Promise<number> {
    const { rows } = await this.#query<Ended>(
      tx,
      `WITH old AS MATERIALIZED (
         SELECT name, id FROM ${this.#saga} s WHERE ended_at < (SELECT clock_timestamp() - $1::float8 * interval '1 ms')
           AND (NOT s.state ? 'parent' OR NOT EXISTS (
             WITH RECURSIVE above AS (
               SELECT s.state->'parent'->>'name' AS name, s.state->'parent'->>'id' AS id
               UNION
               SELECT p.state->'parent'->>'name', p.state->'parent'->>'id'
               FROM above JOIN ${this.#saga} p USING (name, id))
             SELECT FROM above JOIN ${this.#saga} p USING (name, id) WHERE p.ended_at IS NULL))
         ORDER BY ended_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)
       DELETE FROM ${this.#saga} s USING old WHERE s.name = old.name AND s.id = old.id
       RETURNING s.name AS saga, s.id, s.version, s.status, s.input, s.state,
         (extract(epoch FROM s.created_at) * 1000)::float8 AS "startedAt",
         (extract(epoch FROM s.ended_at) * 1000)::float8 AS "endedAt"`,
      [olderThanMs],
    )
    if (rows.length === 0) return 0
    const timelines = await this.#takeTimelines(tx, rows)
    const archived = rows.map(({ state: { steps, failure }, ...row }) => {
      return { ...row, failure, steps, timeline: timelines.get(keyOf(row)) ?? [] }
    })
    await this.#host.archive(archived, { tx })
    return rows.length
  }

  async #takeTimelines(tx: SqlTransaction, sagas: readonly Ended[]): Promise<ReadonlyMap<string, TimelineRow[]>> {
    const { rows } = await this.#query<TimelineRow & { saga: string; id: string; seq: number }>(
      tx,
      `DELETE FROM ${this.#event} e USING unnest($1::text[], $2::text[]) AS old(saga, id)
       WHERE e.saga = old.saga AND e.id = old.id
       RETURNING e.saga, e.id, e.seq::float8 AS seq, (extract(epoch FROM e.at) * 1000)::float8 AS at, e.kind, e.step, e.detail`,
      [sagas.map(({ saga }) => saga), sagas.map(({ id }) => id)],
    )
    const timelines = new Map<string, TimelineRow[]>()
    for (const row of rows.toSorted((a, b) => a.seq - b.seq)) {
      const key = keyOf(row)
      const timeline = timelines.get(key) ?? []
      timeline.push(cleanTimeline(row))
      timelines.set(key, timeline)
    }
    return timelines
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { retentionMs, clock, logger } = this.#host
    while (!signal.aborted) {
      try {
        const purged = await this.purge(retentionMs, signal)
        if (purged > 0) logger.info({ purged }, 'ended sagas deleted')
      } catch (error) {
        logger.warn({ err: toError(error) }, 'ended sagas not deleted, tried again later')
      }
      await clock.sleep(Math.min(EVERY_MS, Math.max(retentionMs / 2, 1)), signal).catch(() => {})
    }
  }
}

function keyOf({ saga, id }: { readonly saga: string; readonly id: string }): string {
  return `${saga}/${id}`
}
