/** Reads sagas for reports, lists and counts, and for callers that wait for the end of a saga. */
import { type OwnQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import type { SagaStatus } from '../machine/state.ts'
import { COLUMNS, sagaQuery, type Track } from './saga-row-columns.ts'
import type {
  ReportedSaga,
  ResolvedFilter,
  SagaKey,
  SagaRow,
  SagaSummary,
  SagaVersion,
  StandingSaga,
  TimelineRow,
} from './store-types.ts'

/** Reason why a saga is undone or, if it is stuck, the step that an operator has to settle, with its error. */
export const FAILURE = `(CASE WHEN status = 'stuck' THEN coalesce(
  (SELECT jsonb_build_object('step', s->'step') || (s->'error') FROM jsonb_array_elements(state->'steps') AS s
   WHERE s->>'wait' = 'operator' AND s->'error' IS NOT NULL LIMIT 1), state->'failure') ELSE state->'failure' END)`
/** Start and last write, in epoch ms of the server's clock. */
const MOMENTS = `(extract(epoch FROM created_at) * 1000)::float8 AS "createdAt",
  (extract(epoch FROM updated_at) * 1000)::float8 AS "updatedAt"`
const SUMMARY = `name, id, version, status, ${FAILURE} AS failure, ${MOMENTS}`

export interface OpenSagas {
  readonly name: string
  readonly version: number
  readonly status: SagaStatus
  readonly count: number
  /** Number of these that no coordinator has taken for a minute. */
  readonly overdue: number
}

export class SagaReads {
  readonly #query: OwnQuery
  readonly #saga: string
  readonly #event: string

  constructor(schema: string, track?: Track) {
    const quoted = quoteIdentifier(schema)
    this.#query = sagaQuery(schema, track)
    this.#saga = `${quoted}.saga`
    this.#event = `${quoted}.saga_event`
  }

  /** Reads sagas with their timelines, in the order of the keys; `undefined` for a missing one. */
  async read(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly (ReportedSaga | undefined)[]> {
    const result = await this.#query<ReportedSaga>(
      sql,
      `SELECT ${COLUMNS}, ${MOMENTS}, (
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

  /** Returns the existing sagas among the keys, and whether each has ended or is stuck. */
  async standing(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<readonly StandingSaga[]> {
    const result = await this.#query<StandingSaga>(
      sql,
      `SELECT s.name, s.id, s.status IN ('completed', 'compensated', 'stuck') AS "isEndedOrStuck"
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

  /** Counts unfinished sagas by version and status. */
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

  /** Returns open sagas of these versions after `after`, with their inputs. */
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

  /** Returns the current revisions, by `name/id`; without missing sagas. */
  async revisions(sql: SqlExecutor, keys: readonly SagaKey[]): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#query<SagaKey & { readonly revision: number }>(
      sql,
      `SELECT name, id, revision::float8 AS revision FROM ${this.#saga}
       JOIN unnest($1::text[], $2::text[]) AS k(name, id) USING (name, id)`,
      [keys.map(({ name }) => name), keys.map(({ id }) => id)],
    )
    return new Map(rows.map(({ name, id, revision }) => [`${name}/${id}`, revision]))
  }
}

/** Removes fields that are null in the database. */
export function cleanTimeline({ at, kind, step, detail }: TimelineRow): TimelineRow {
  return { at, kind, ...(step != null && { step }), ...(detail != null && { detail }) }
}

/** Returns only the requested conditions; for open statuses also `ended_at IS NULL`, so that the partial indexes apply. */
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
