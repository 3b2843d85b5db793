/**
 * The sagas in PostgreSQL. Every write is one statement over a list of sagas, state and timeline together, each guarded by its own revision;
 * so one saga or hundreds share a commit.
 *
 * All times are the server's. `due_at` is when an instance must look at the row: with an `owner` it is the end of its lease, without one the
 * time of a retry or of a late reply. A stuck saga has an owner until it was reported. `epoch` counts changes of ownership: the holder of
 * epoch n cannot write once it is n + 1.
 */
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import type { TimelineEntry } from '../machine/event.ts'
import type { SagaStatus } from '../machine/state.ts'
import type {
  ClaimedRow,
  ReportedSaga,
  ResolvedFilter,
  SagaKey,
  SagaLease,
  SagaMail,
  SagaRow,
  SagaSignals,
  SagaSummary,
  SagaVersion,
  SagaWrite,
  StandingSaga,
  TimelineRow,
} from './rows.ts'

const COLUMNS = `name, id, version, graph_hash AS "graphHash", birth, state, input, input_hash AS "inputHash",
  revision::float8 AS revision, owner, epoch::float8 AS epoch, mail,
  (extract(epoch FROM deadline_at - clock_timestamp()) * 1000)::float8 AS "deadlineInMs",
  (extract(epoch FROM clock_timestamp() - updated_at) * 1000)::float8 AS "sinceWriteMs",
  (extract(epoch FROM clock_timestamp() - created_at) * 1000)::float8 AS "ageMs", trace`
/** Why a saga turned back; of one that is stuck, the step that an operator has to see to and its error. */
export const FAILURE = `(CASE WHEN status = 'stuck' THEN coalesce(
  (SELECT jsonb_build_object('step', s->'step') || (s->'error') FROM jsonb_array_elements(state->'steps') AS s
   WHERE s->>'wait' = 'operator' AND s->'error' IS NOT NULL LIMIT 1), state->'failure') ELSE state->'failure' END)`
const SUMMARY = `name, id, version, status, ${FAILURE} AS failure,
  (extract(epoch FROM created_at) * 1000)::float8 AS "createdAt",
  (extract(epoch FROM updated_at) * 1000)::float8 AS "updatedAt"`

/** In a subquery, and so asked once: compared with the bare, volatile function each row would be read, index or not. */
const NOW = '(SELECT clock_timestamp())'

/** Gets every statement, with its text, and gives it back. */
export type Track = <T>(statement: Promise<T>, text: string) => Promise<T>

export class SagaStore {
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #event: string
  readonly #definition: string
  readonly #write: string
  /** Locks the rows of leases that are still held, in key order like `saga_write`, so that the two cannot deadlock. */
  readonly #held: string

  constructor(schema: string, track: Track = (statement) => statement) {
    const quoted = quoteIdentifier(schema)
    const query = ownQuery(schema, 'coordinator.migrate()')
    this.#query = (sql, text, parameters) => track(query(sql, text, parameters), text)
    this.#saga = `${quoted}.saga`
    this.#event = `${quoted}.saga_event`
    this.#definition = `${quoted}.saga_definition`
    this.#write = `${quoted}.saga_write`
    this.#held = `SELECT s.name, s.id FROM ${this.#saga} s
      JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS h(name, id, epoch) USING (name, id, epoch)
      WHERE s.owner = $1 ORDER BY s.name, s.id FOR UPDATE OF s`
  }

  /**
   * Applies each write whose revision fits: 1 inserts a saga that does not exist, a later one replaces the one before.
   * @returns the indexes of those that did
   */
  async write(sql: SqlExecutor, writes: readonly SagaWrite[]): Promise<ReadonlySet<number>> {
    const text = `SELECT n FROM ${this.#write}($1::jsonb) AS n`
    const { rows } = await this.#query<{ n: number }>(sql, text, [JSON.stringify(writes.map(toRecord))])
    return new Set(rows.map(({ n }) => n))
  }

  async load(sql: SqlExecutor, key: SagaKey): Promise<SagaRow | undefined> {
    const text = `SELECT ${COLUMNS} FROM ${this.#saga} WHERE name = $1 AND id = $2`
    return (await this.#query<SagaRow>(sql, text, [key.name, key.id])).rows[0]
  }

  /** The present revisions, by `name/id`; without those that are not there. */
  async revisions(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#query<SagaKey & { readonly revision: number }>(
      sql,
      `SELECT name, id, revision::float8 AS revision FROM ${this.#saga}
       JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    return new Map(rows.map(({ name, id, revision }) => [`${name}/${id}`, revision]))
  }

  async has(sql: SqlExecutor, key: SagaKey): Promise<boolean> {
    const text = `SELECT FROM ${this.#saga} WHERE name = $1 AND id = $2`
    return (await this.#query(sql, text, [key.name, key.id])).rows.length > 0
  }

  /** In the order of the keys; `undefined` for one that is not there. */
  async loadMany(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly (SagaRow | undefined)[]> {
    const { rows } = await this.#query<SagaRow>(
      sql,
      `SELECT ${COLUMNS} FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    const found = new Map(rows.map((row) => [`${row.name}/${row.id}`, row]))
    return keys.map(({ name, id }) => found.get(`${name}/${id}`))
  }

  /**
   * Takes due sagas of these versions: overdue replies and retries, and whatever a dead owner left. `nextDueMs`: in how many
   * ms the next saga of them is due, of those that were not due yet, `undefined` when none waits. Each version is looked up by itself:
   * sagas of others, maybe many that stay due after the rollback of a deploy, are not read.
   */
  async claim(
    sql: SqlExecutor,
    owner: string,
    leaseMs: number,
    versions: readonly SagaVersion[],
    limit: number,
  ): Promise<{ readonly rows: readonly ClaimedRow[]; readonly nextDueMs: number | undefined; readonly nowMs: number }> {
    type Row = (ClaimedRow | { readonly name: null }) & { readonly nextDueMs: number | null; readonly nowMs: number }
    const { rows } = await this.#query<Row>(
      sql,
      `WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now), due AS MATERIALIZED (
         SELECT d.* FROM unnest($3::text[], $4::int[]) AS v(name, version) CROSS JOIN LATERAL (
           SELECT s.name, s.id, s.owner AS former, s.due_at FROM ${this.#saga} s
           WHERE s.name = v.name AND s.version = v.version AND s.due_at <= (SELECT now FROM clock)
           ORDER BY s.due_at LIMIT $5 FOR UPDATE SKIP LOCKED) d ORDER BY d.due_at LIMIT $5
       ), taken AS (
         UPDATE ${this.#saga} s SET owner = $1, epoch = epoch + 1, revision = revision + 1, wait_ms = $2,
           due_at = clock_timestamp() + $2 * interval '1 millisecond'
         FROM due WHERE s.name = due.name AND s.id = due.id RETURNING s.*, due.former
       ), next AS (
         SELECT (extract(epoch FROM min(n.due_at) - (SELECT now FROM clock)) * 1000)::float8 AS ms
         FROM unnest($3::text[], $4::int[]) AS v(name, version) CROSS JOIN LATERAL (
           SELECT s.due_at FROM ${this.#saga} s
           WHERE s.name = v.name AND s.version = v.version AND s.due_at > (SELECT now FROM clock)
           ORDER BY s.due_at LIMIT 1) n
       ) SELECT ${COLUMNS}, former, next.ms AS "nextDueMs",
         (SELECT extract(epoch FROM now) * 1000 FROM clock)::float8 AS "nowMs" FROM next LEFT JOIN taken ON true`,
      [owner, leaseMs, versions.map(({ name }) => name), versions.map(({ version }) => version), limit],
    )
    const { nextDueMs, nowMs = 0 } = rows[0] ?? {}
    return { rows: rows.filter((row) => row.name !== null), nextDueMs: nextDueMs ?? undefined, nowMs }
  }

  /**
   * Counts times anew that were written before the server's clock was set back, or by another server: leases and pauses that end later
   * than they could if they began now, and deadlines since a write that is yet to come.
   */
  async countAnew(sql: SqlExecutor): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET updated_at = least(updated_at, clock_timestamp()),
         deadline_at = deadline_at - greatest(updated_at - clock_timestamp(), interval '0'),
         due_at = least(due_at, clock_timestamp() + wait_ms * interval '1 millisecond')
       WHERE due_at > ${NOW} AND (due_at > ${NOW} + wait_ms * interval '1 millisecond' OR updated_at > ${NOW})`,
    )
  }

  /** In how many ms the next row becomes due, as `claim` says it. */
  async nextDueMs(sql: SqlExecutor, versions: readonly SagaVersion[]): Promise<number | undefined> {
    const result = await this.#query<{ ms: number | null }>(
      sql,
      `SELECT (extract(epoch FROM min(n.due_at) - clock_timestamp()) * 1000)::float8 AS ms
       FROM unnest($1::text[], $2::int[]) AS v(name, version) CROSS JOIN LATERAL (
         SELECT s.due_at FROM ${this.#saga} s
         WHERE s.name = v.name AND s.version = v.version AND s.due_at > ${NOW} ORDER BY s.due_at LIMIT 1) n`,
      [versions.map(({ name }) => name), versions.map(({ version }) => version)],
    )
    return result.rows[0]?.ms ?? undefined
  }

  /** Extends leases; returns those that are still held. */
  async renew(
    sql: SqlExecutor,
    owner: string,
    leaseMs: number,
    leases: readonly SagaLease[],
  ): Promise<readonly SagaKey[]> {
    const result = await this.#query<SagaKey>(
      sql,
      `WITH held AS MATERIALIZED (${this.#held})
       UPDATE ${this.#saga} s SET wait_ms = $5, due_at = clock_timestamp() + $5 * interval '1 millisecond'
       FROM held WHERE s.name = held.name AND s.id = held.id RETURNING s.name, s.id`,
      [owner, ...columns(leases), leaseMs],
    )
    return result.rows
  }

  /** Locks sagas in the order in which `saga_write` does, so that writing several and posting to others cannot deadlock. */
  async lock(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<void> {
    await this.#query(
      sql,
      `SELECT FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)
       ORDER BY s.name, s.id FOR UPDATE OF s`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
  }

  /**
   * Leaves mail for an instance that has the saga's version, due at once. False: there is no such open saga, or it is not
   * the one that is meant (of another birth, the step of another saga). An order to undo finds a completed one too.
   */
  async post(sql: SqlExecutor, key: SagaKey, mail: SagaMail): Promise<boolean> {
    const of = 'undo' in mail ? mail.of : undefined
    const result = await this.#query(
      sql,
      `UPDATE ${this.#saga} SET mail = coalesce(mail, '[]'::jsonb) || $3::jsonb, revision = revision + 1,
           due_at = CASE WHEN owner IS NULL OR status = 'stuck' THEN clock_timestamp() ELSE due_at END,
           wait_ms = CASE WHEN owner IS NULL OR status = 'stuck' THEN 0 ELSE wait_ms END
       WHERE name = $1 AND id = $2 AND (ended_at IS NULL OR ($4 AND status = 'completed'))
         AND coalesce(birth = $5, true)
         AND ($6::jsonb IS NULL OR state->'parent' @> $6::jsonb)`,
      [
        key.name,
        key.id,
        JSON.stringify([mail]),
        'undo' in mail,
        'birth' in mail ? mail.birth : null,
        of === undefined ? null : JSON.stringify(of),
      ],
    )
    return result.rowCount === 1
  }

  /** A line of the timeline that changes nothing. */
  async note(sql: SqlExecutor, { name, id }: SagaKey, { kind, step, detail }: TimelineEntry): Promise<void> {
    await this.#query(
      sql,
      `INSERT INTO ${this.#event} (saga, id, kind, step, detail) VALUES ($1, $2, $3, $4, $5::jsonb)`,
      [name, id, kind, step ?? null, detail === undefined ? null : JSON.stringify(detail)],
    )
  }

  /** Nothing came of taking a saga: its mail is forgotten; one that is stuck or has ended is left alone from now on. */
  async rest(sql: SqlExecutor, { name, id, revision }: SagaRow): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET mail = NULL, revision = revision + 1,
         owner = CASE WHEN status IN ('completed', 'compensated', 'stuck') THEN NULL ELSE owner END,
         due_at = CASE WHEN status IN ('completed', 'compensated', 'stuck') THEN NULL ELSE due_at END
       WHERE name = $1 AND id = $2 AND revision = $3`,
      [name, id, revision],
    )
  }

  /** Records that `onStuck` was called: unless mail came for it, the saga is left alone from now on. */
  async told(sql: SqlExecutor, { name, id, revision }: SagaRow): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET revision = revision + 1, owner = NULL,
         due_at = CASE WHEN mail IS NULL THEN NULL ELSE clock_timestamp() END, wait_ms = 0
       WHERE name = $1 AND id = $2 AND revision = $3 AND status = 'stuck' AND owner IS NOT NULL`,
      [name, id, revision],
    )
  }

  /** Gives leases back at once: due now, and a late write of this owner is refused. */
  async release(sql: SqlExecutor, owner: string, leases: readonly SagaLease[]): Promise<void> {
    await this.#query(
      sql,
      `WITH held AS MATERIALIZED (${this.#held})
       UPDATE ${this.#saga} s SET owner = CASE WHEN s.status = 'stuck' THEN s.owner END,
           epoch = s.epoch + 1, revision = s.revision + 1, due_at = clock_timestamp(), wait_ms = 0
       FROM held WHERE s.name = held.name AND s.id = held.id`,
      [owner, ...columns(leases)],
    )
  }

  /** Ends the leases of owners whose name does not begin so: they are known to be gone. */
  async expireOthers(sql: SqlExecutor, ownerPrefix: string): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET owner = CASE WHEN status = 'stuck' THEN owner END,
           epoch = epoch + 1, revision = revision + 1, due_at = clock_timestamp(), wait_ms = 0
       WHERE due_at IS NOT NULL AND owner IS NOT NULL AND NOT starts_with(owner, $1)`,
      [ownerPrefix],
    )
  }

  /** Unfinished sagas without an owner, by key. */
  async unowned(
    sql: SqlExecutor,
    versions: readonly SagaVersion[],
    after: SagaKey,
    limit: number,
  ): Promise<readonly SagaKey[]> {
    const result = await this.#query<SagaKey>(
      sql,
      `SELECT name, id FROM ${this.#saga}
       WHERE due_at IS NOT NULL AND owner IS NULL AND (name, id) > ($1, $2)
         AND (name, version) IN (SELECT * FROM unnest($3::text[], $4::int[])) ORDER BY name, id LIMIT $5`,
      [after.name, after.id, versions.map(({ name }) => name), versions.map(({ version }) => version), limit],
    )
    return result.rows
  }

  /** Open sagas of these versions after `after`, with their inputs. */
  async openInputs(
    sql: SqlExecutor,
    versions: readonly SagaVersion[],
    after: SagaKey,
    limit: number,
  ): Promise<ReadonlyArray<Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>>> {
    const result = await this.#query<Pick<SagaRow, 'name' | 'id' | 'version' | 'input'>>(
      sql,
      `SELECT name, id, version, input FROM ${this.#saga}
       WHERE ended_at IS NULL AND (name, id) > ($1, $2)
         AND (name, version) IN (SELECT * FROM unnest($3::text[], $4::int[])) ORDER BY name, id LIMIT $5`,
      [after.name, after.id, versions.map(({ name }) => name), versions.map(({ version }) => version), limit],
    )
    return result.rows
  }

  /** Remembers the graph and the signals of a version the first time; returns the hash that is remembered. */
  async register(
    sql: SqlExecutor,
    { name, version }: SagaVersion,
    graphHash: string,
    signals: SagaSignals,
  ): Promise<string> {
    await this.#query(
      sql,
      `INSERT INTO ${this.#definition} (name, version, graph_hash, signals) VALUES ($1, $2, $3, $4::jsonb)
       ON CONFLICT DO NOTHING`,
      [name, version, graphHash, JSON.stringify(signals)],
    )
    const { rows } = await this.#query<{ hash: string }>(
      sql,
      `SELECT graph_hash AS hash FROM ${this.#definition} WHERE name = $1 AND version = $2`,
      [name, version],
    )
    return rows[0]?.hash ?? graphHash
  }

  /** Whether a version has a step of this name that waits for a signal. */
  async hasSignal(sql: SqlExecutor, { name, version }: SagaVersion, step: string): Promise<boolean> {
    const text = `SELECT signals ? $3 AS has FROM ${this.#definition} WHERE name = $1 AND version = $2`
    const { rows } = await this.#query<{ has: boolean }>(sql, text, [name, version, step])
    return rows[0]?.has ?? true
  }

  /** Sagas with their timelines, in the order of the keys; `undefined` for one that is not there. */
  async reports(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly (ReportedSaga | undefined)[]> {
    const result = await this.#query<ReportedSaga>(
      sql,
      `SELECT ${COLUMNS}, (
         SELECT json_agg(json_build_object('at', extract(epoch FROM e.at) * 1000, 'kind', e.kind, 'step', e.step,
           'detail', e.detail) ORDER BY e.seq)
         FROM ${this.#event} e WHERE e.saga = s.name AND e.id = s.id) AS timeline
       FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    const found = new Map(result.rows.map((row) => [`${row.name}/${row.id}`, row]))
    return keys.map(({ name, id }) => {
      const row = found.get(`${name}/${id}`)
      return row && { ...row, timeline: (row.timeline ?? []).map(cleanTimeline) }
    })
  }

  /** Existing sagas among the keys, and whether each has ended or is stuck. */
  async standing(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly StandingSaga[]> {
    const result = await this.#query<StandingSaga>(
      sql,
      `SELECT s.name, s.id, s.status IN ('completed', 'compensated', 'stuck') AS "isSettled"
       FROM ${this.#saga} s JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    return result.rows
  }

  async list(sql: SqlExecutor, filter: ResolvedFilter): Promise<readonly SagaSummary[]> {
    const { where, parameters } = listCondition(filter)
    const result = await this.#query<SagaSummary>(
      sql,
      `SELECT ${SUMMARY} FROM ${this.#saga} WHERE ${where} ORDER BY created_at, name, id LIMIT ${filter.limit}`,
      parameters,
    )
    return result.rows.map((row) => ({ ...row, failure: row.failure ?? undefined }))
  }

  /** Unfinished sagas by version and status. */
  async open(sql: SqlExecutor): Promise<readonly OpenSagas[]> {
    const result = await this.#query<OpenSagas>(
      sql,
      `SELECT name, version, status, count(*)::int AS count,
         count(*) FILTER (WHERE due_at < clock_timestamp() - interval '1 minute')::int AS overdue
       FROM ${this.#saga} WHERE ended_at IS NULL
       GROUP BY name, version, status`,
    )
    return result.rows
  }
}

export interface OpenSagas {
  readonly name: string
  readonly version: number
  readonly status: SagaStatus
  readonly count: number
  /** Number of these that no coordinator has taken for a minute. */
  readonly overdue: number
}

/** Without what the database has as null. */
export function cleanTimeline({ at, kind, step, detail }: TimelineRow): TimelineRow {
  return { at, kind, ...(step != null && { step }), ...(detail != null && { detail }) }
}

/** Only what is asked for, so that the index of what has not ended is used for what has not. */
function listCondition(filter: ResolvedFilter): { readonly where: string; readonly parameters: readonly unknown[] } {
  const { status, saga, version, code, startedAfter, startedBefore, after } = filter
  const parameters: unknown[] = []
  const given = (value: unknown): string => `$${parameters.push(value)}`
  const moment = (ms: number): string => `to_timestamp(${given(ms)}::float8 / 1000)`
  const conditions = ['true']
  if (status !== undefined) conditions.push(`status = ${given(status)}`)
  if (status === 'running' || status === 'compensating' || status === 'stuck') conditions.push('ended_at IS NULL')
  if (saga !== undefined) conditions.push(`name = ${given(saga)}`)
  if (version !== undefined) conditions.push(`version = ${given(version)}`)
  if (code !== undefined) conditions.push(`${FAILURE}->>'code' = ${given(code)}`)
  if (startedAfter !== undefined) conditions.push(`created_at > ${moment(startedAfter)}`)
  if (startedBefore !== undefined) conditions.push(`created_at < ${moment(startedBefore)}`)
  if (after !== undefined) {
    const place = [moment(after.createdAt), given(after.name), given(after.id)].join(', ')
    conditions.push(`(created_at, name, id) > (${place})`)
  }
  return { where: conditions.join(' AND '), parameters }
}

function toRecord({ row, wakeMs, heedsDeadline, timeline }: SagaWrite, n: number): object {
  const { name, id, version, birth, state, input, revision, owner, epoch, mail, trace, home } = row
  const { graphHash: graph_hash, inputHash: input_hash, deadlineInMs: deadline_ms } = row
  const first = revision === 1 ? { version, graph_hash, input, input_hash, deadline_ms, trace, home } : undefined
  const when = wakeMs === 'as before' ? { keep_due: true } : { wake_ms: wakeMs, heed: heedsDeadline }
  return { n, name, id, birth, revision, status: state.status, state, owner, epoch, mail, timeline, ...when, ...first }
}

function columns(leases: readonly SagaLease[]): [string[], string[], number[]] {
  return [leases.map(({ name }) => name), leases.map(({ id }) => id), leases.map(({ epoch }) => epoch)]
}
