/**
 * Retention of ended sagas. They are kept for `retentionMs`, and as long as an open saga of which they are a direct or indirect
 * part may undo them; then they are archived and deleted, with their timelines, in one transaction. Several instances may do this
 * at once. The id of a deleted saga can be started again.
 */
import { lastingContext } from '../../core/async-contexts.ts'
import { HOUR, SECOND } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlTransaction } from '../../core/sql.ts'
import { finishesWithin, within } from '../../core/time-limit.ts'
import type { SagaFailure, StepState } from '../machine/state.ts'
import { cleanTimeline } from '../store/saga-reads.ts'
import type { SagaKey, TimelineRow } from '../store/store-types.ts'
import { ArchiveFailures, type UnarchivedSaga } from './archive-failures.ts'
import type { ArchivedSaga } from './archive-types.ts'
import type { CoordinatorRuntime } from './runtime.ts'

const BATCH = 200
const EVERY_MS = 1 * HOUR
const CLOSE_MS = 2 * SECOND
/** Maximum number of consecutive sagas that `archive` refuses on their own before a purge leaves the rest to the next one. */
const MOST_FAILURES = 10

interface Ended extends Omit<ArchivedSaga, 'steps' | 'timeline' | 'failure'> {
  readonly state: { readonly steps: readonly StepState[]; readonly failure?: SagaFailure }
}

/** Progress of a purge. */
interface Pass {
  readonly olderThanMs: number
  readonly signal: AbortSignal | undefined
  deleted: number
  /** Number of consecutive failures. */
  failures: number
  /** First error that `archive` threw for a saga on its own. */
  error?: Error
}

/** Sagas of a batch: at most `limit`, either these alone or all others. */
interface Choice {
  readonly limit: number
  readonly only?: SagaKey | undefined
}

export class Retention {
  readonly #runtime: CoordinatorRuntime
  readonly #unarchived = new ArchiveFailures()
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #event: string
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined

  constructor(runtime: CoordinatorRuntime) {
    this.#runtime = runtime
    const quoted = quoteIdentifier(runtime.schema)
    this.#query = ownQuery(runtime.schema, 'coordinator.migrate()')
    this.#saga = `${quoted}.saga`
    this.#event = `${quoted}.saga_event`
  }

  start(): void {
    if (this.#runtime.retentionMs === Number.POSITIVE_INFINITY || this.#stopping.signal.aborted) return
    this.#loop ??= lastingContext()(() => this.#run(this.#stopping.signal))
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    if (this.#loop !== undefined) await finishesWithin(this.#runtime.clock, CLOSE_MS, this.#loop)
  }

  /** Sagas that `archive` refused on their own when this process last tried. */
  unarchived(): readonly UnarchivedSaga[] {
    return this.#unarchived.list()
  }

  /**
   * Deletes sagas that ended longer ago than this, batch by batch. Returns how many.
   * @throws errors of the database; after all others are deleted, the error of `archive` for a saga that it refuses
   */
  async purge(olderThanMs: number, signal?: AbortSignal): Promise<number> {
    const pass: Pass = { olderThanMs, signal, deleted: 0, failures: 0 }
    const earlier = this.#unarchived.keys()
    await this.#purgeOthers(pass)
    for (const only of earlier) if (mayGoOn(pass)) await this.#attempt(pass, { limit: 1, only })
    if (pass.error !== undefined) throw pass.error
    return pass.deleted
  }

  /** Purges all sagas except those that `archive` has refused. */
  async #purgeOthers(pass: Pass): Promise<void> {
    let limit = BATCH
    let most = BATCH
    while (mayGoOn(pass)) {
      const { count, isDeleted } = await this.#attempt(pass, { limit })
      if (isDeleted) {
        if (count < limit) return
        limit = Math.min(limit * 2, most)
      } else {
        // A larger batch may be too much for `archive`, unless one saga in it was the reason.
        most = count === 1 ? BATCH : Math.ceil(count / 2)
        limit = Math.ceil(count / 2)
      }
    }
  }

  /** Purges a batch. An exception before the `archive` call comes from the database, and ends the purge. */
  async #attempt(pass: Pass, choice: Choice): Promise<{ readonly count: number; readonly isDeleted: boolean }> {
    let taken: readonly SagaKey[] = []
    try {
      await this.#runtime.sql.transaction(async (tx) => {
        const rows = await this.#take(tx, pass.olderThanMs, choice)
        if (rows.length === 0) return
        const sagas = await this.#describe(tx, rows)
        taken = sagas.map(({ saga, id }) => ({ name: saga, id }))
        await this.#archive(tx, sagas)
      })
    } catch (error) {
      if (taken.length === 0) throw error
      if (taken.length === 1) this.#keep(pass, taken[0] as SagaKey, error)
      return { count: taken.length, isDeleted: false }
    }
    if (choice.only !== undefined) this.#unarchived.forget(choice.only)
    pass.deleted += taken.length
    pass.failures = 0
    return { count: taken.length, isDeleted: true }
  }

  #keep(pass: Pass, key: SagaKey, cause: unknown): void {
    const error = toError(cause)
    pass.error ??= error
    pass.failures++
    this.#unarchived.add(key, error)
    const fields = { saga: key.name, id: key.id, err: error }
    this.#runtime.logger.warn(fields, 'ended saga not archived, it is kept and tried again later')
  }

  /** @throws the error of `archive`; Error when it does not settle in time, so that the transaction is rolled back */
  async #archive(tx: SqlTransaction, sagas: readonly ArchivedSaga[]): Promise<void> {
    const { archive, archiveTimeoutMs, clock } = this.#runtime
    // A statement without a time limit would also delay the ROLLBACK.
    await tx.query(LIMIT_STATEMENTS, [`${archiveTimeoutMs}`])
    const work = Promise.resolve().then(() => archive(sagas, { tx }))
    if ((await within(clock, archiveTimeoutMs, work, LATE)) !== LATE) return
    throw new Error(
      `archive of createCoordinator did not settle within ${archiveTimeoutMs} ms: let it end sooner, or raise archiveTimeoutMs`,
    )
  }

  async #take(tx: SqlTransaction, olderThanMs: number, { limit, only }: Choice): Promise<readonly Ended[]> {
    const listed = only === undefined ? this.#unarchived.keys() : [only]
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
           AND $4 = EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS k(name, id) WHERE k.name = s.name AND k.id = s.id)
         ORDER BY ended_at LIMIT $5::int FOR UPDATE SKIP LOCKED)
       DELETE FROM ${this.#saga} s USING old WHERE s.name = old.name AND s.id = old.id
       RETURNING s.name AS saga, s.id, s.version, s.status, s.input, s.state,
         (extract(epoch FROM s.created_at) * 1000)::float8 AS "startedAt",
         (extract(epoch FROM s.ended_at) * 1000)::float8 AS "endedAt"`,
      [olderThanMs, listed.map(({ name }) => name), listed.map(({ id }) => id), only !== undefined, limit],
    )
    return rows
  }

  async #describe(tx: SqlTransaction, rows: readonly Ended[]): Promise<readonly ArchivedSaga[]> {
    const timelines = await this.#takeTimelines(tx, rows)
    return rows.map(({ state: { steps, failure }, ...row }) => {
      return { ...row, failure, steps, timeline: timelines.get(keyOf(row)) ?? [] }
    })
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
    const { retentionMs, clock, logger } = this.#runtime
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

/** Sets the limits, but keeps stricter ones of the server. */
const LIMIT_STATEMENTS = `SELECT set_config(name, $1, true) FROM pg_settings
  WHERE name = 'statement_timeout' AND (setting = '0' OR setting::bigint > $1::text::bigint)`

/** Marks an `archive` call that exceeded its time limit. */
const LATE = Symbol('late')

function mayGoOn({ signal, failures }: Pass): boolean {
  return signal?.aborted !== true && failures < MOST_FAILURES
}

function keyOf({ saga, id }: { readonly saga: string; readonly id: string }): string {
  return `${saga}/${id}`
}
