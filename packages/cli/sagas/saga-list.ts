/** Operator's views of sagas: lines of a list, and a single saga. Payloads are omitted unless requested. */

import type { SqlClient } from 'concordat/core'
import {
  invalidOption,
  optionNames,
  type ownQuery,
  refuseUnknown,
  requireInteger,
  requireText,
} from 'concordat/extension'
import { readCursor, writeCursor } from '../cursor.ts'
import type { SagaFailure, SagaStatus } from '../engine-types.ts'
import { MOST_COUNTED } from '../words.ts'

/** Selects sagas; all given fields must match. */
export interface SagaFilter {
  /** Name of the saga. */
  readonly saga?: string | undefined
  /** Without it, ended sagas are included. */
  readonly status?: SagaStatus | undefined
  /** Prefix of the ids. */
  readonly idPrefix?: string | undefined
  /** The instance that runs a local call of the saga. */
  readonly owner?: string | undefined
  /** Code of the failure; for a stuck saga, of the failure on which it is stuck: `payments.declined`. */
  readonly code?: string | undefined
  /** Started at least this long ago, in ms. */
  readonly olderThanMs?: number | undefined
}

/** A page of sagas. */
export interface SagaListOptions extends SagaFilter {
  /** @default 'oldest' first */
  readonly order?: 'oldest' | 'newest' | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
  /** At most 1 000. @default 100 */
  readonly limit?: number | undefined
}

/** A saga in a list. */
export interface SagaLine {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly status: SagaStatus
  /** Why its compensation started, or the stuck step and its failure. */
  readonly failure: SagaFailure | null
  /** The open steps. */
  readonly waitingOn: readonly string[]
  readonly owner: string | null
  /** Epoch ms, server time. */
  readonly startedAt: number
  readonly changedAt: number
  /** Number of times it has become stuck: an action that names it applies to this failure only. */
  readonly timesStuck: number
  /** Number of operators' actions that no instance has applied yet. */
  readonly pendingActions: number
}

/** A page of a list; `next` is present when more may follow. */
export interface SagaPage {
  readonly sagas: readonly SagaLine[]
  readonly next: string | null
}

export const FILTER_NAMES = {
  saga: true,
  status: true,
  idPrefix: true,
  owner: true,
  code: true,
  olderThanMs: true,
} as const
const LIST_NAMES = optionNames<SagaListOptions>({
  ...FILTER_NAMES,
  order: true,
  after: true,
  limit: true,
})
const STATUSES = ['running', 'compensating', 'completed', 'compensated', 'stuck'] as const
const MAX_PAGE = 1_000

/** Location of the sagas. */
export interface SagaTable {
  readonly sql: SqlClient
  readonly query: ReturnType<typeof ownQuery>
  /** Quoted, with its schema. */
  readonly table: string
  /** SQL expression: the failure of a row as JSON. */
  readonly failure: string
}

interface Row extends Omit<SagaLine, 'waitingOn'> {
  readonly waitingOn: readonly string[] | null
  readonly place: string
}

const columns = (failure: string): string => `name AS saga, id, version, status, ${failure} AS failure, owner,
  (SELECT json_agg(s->>'step') FROM jsonb_array_elements(state->'steps') s WHERE s->>'wait' IS NOT NULL) AS "waitingOn",
  coalesce((state->>'timesStuck')::int, 0) AS "timesStuck",
  (extract(epoch FROM created_at) * 1000)::float8 AS "startedAt",
  (extract(epoch FROM updated_at) * 1000)::float8 AS "changedAt",
  (SELECT count(*) FROM jsonb_array_elements(coalesce(mail, '[]')) m WHERE m->'operator' IS NOT NULL)::int AS "pendingActions",
  (extract(epoch FROM created_at) * 1000000)::bigint::text AS place`

/** @throws TypeError / RangeError naming what is wrong */
export function checkFilter(path: string, filter: SagaFilter): void {
  for (const name of ['saga', 'idPrefix', 'owner', 'code'] as const)
    if (filter[name] !== undefined && requireText(`${path}.${name}`, filter[name]).includes('\0'))
      throw invalidOption(`${path}.${name}`, filter[name], 'a text without NUL')
  if (filter.status !== undefined && !STATUSES.includes(filter.status))
    throw invalidOption(`${path}.status`, filter.status, `one of ${STATUSES.join(', ')}`)
  if (filter.olderThanMs !== undefined) requireInteger(`${path}.olderThanMs`, filter.olderThanMs, 0)
}

/**
 * By start time. Reads at most `limit` matching sagas; ended ones are found by name or id, not by an index.
 * @param among no other saga matches
 */
export async function listSagas(
  { sql, query, table, failure }: SagaTable,
  options: SagaListOptions,
  among?: ReadonlyArray<Pick<SagaLine, 'saga' | 'id'>>,
): Promise<SagaPage> {
  refuseUnknown('sagas.list', options, LIST_NAMES)
  checkFilter('sagas.list', options)
  const limit = requireInteger('sagas.list.limit', options.limit ?? 100, 1, MAX_PAGE)
  const { order = 'oldest' } = options
  if (order !== 'oldest' && order !== 'newest') throw invalidOption('sagas.list.order', order, "'oldest' or 'newest'")
  const way = order === 'newest' ? 'DESC' : 'ASC'
  // Reads the JSON of the page's rows only, instead of that of all sorted rows.
  const by = `created_at ${way}, name ${way}, id ${way}`
  const { where, parameters } = condition(options, failure, among)
  const { rows } = await query<Row>(
    sql,
    `SELECT ${columns(failure)} FROM (SELECT * FROM ${table} WHERE ${where} ORDER BY ${by} LIMIT ${limit}) page ORDER BY ${by}`,
    parameters,
  )
  const last = rows.length < limit ? undefined : rows.at(-1)
  return {
    sagas: rows.map(lineOf),
    next: last === undefined ? null : writeCursor([last.place, last.saga, last.id]),
  }
}

function lineOf(row: Row): SagaLine {
  const { place: _, waitingOn, ...line } = row
  return { ...line, waitingOn: waitingOn ?? [] }
}

function condition(
  options: SagaListOptions,
  failure: string,
  among: ReadonlyArray<Pick<SagaLine, 'saga' | 'id'>> | undefined,
): { readonly where: string; readonly parameters: readonly unknown[] } {
  const { saga, status, idPrefix, owner, code, olderThanMs, order, after } = options
  const parameters: unknown[] = []
  const given = (value: unknown): string => `$${parameters.push(value)}`
  const conditions = ['true']
  if (status !== undefined) conditions.push(`status = ${given(status)}`)
  if (status === 'running' || status === 'compensating' || status === 'stuck') conditions.push('ended_at IS NULL')
  if (saga !== undefined) conditions.push(`name = ${given(saga)}`)
  if (idPrefix !== undefined) conditions.push(`starts_with(id, ${given(idPrefix)})`)
  if (owner !== undefined) conditions.push(`owner = ${given(owner)}`)
  if (code !== undefined) conditions.push(`${failure}->>'code' = ${given(code)}`)
  if (olderThanMs !== undefined)
    conditions.push(
      `created_at <= (SELECT clock_timestamp() - ${given(olderThanMs)}::float8 * interval '1 millisecond')`,
    )
  if (among !== undefined) {
    const [names, ids] = [among.map(({ saga: name }) => name), among.map(({ id }) => id)]
    conditions.push(`(name, id) IN (SELECT * FROM unnest(${given(names)}::text[], ${given(ids)}::text[]))`)
  }
  if (after !== undefined) {
    const [place, name, id] = readCursor('sagas.list.after', after, 3)
    const at = `(timestamptz 'epoch' + ${given(place)}::float8 * interval '1 microsecond')`
    conditions.push(`(created_at, name, id) ${order === 'newest' ? '<' : '>'} (${at}, ${given(name)}, ${given(id)})`)
  }
  return { where: conditions.join(' AND '), parameters }
}

/** Numbers of open sagas, each counted up to 100,000. */
export interface SagaCounts {
  readonly running: number
  readonly compensating: number
  readonly stuck: number
}

export async function countOpen({ sql, query, table }: SagaTable): Promise<SagaCounts> {
  const open = (status: keyof SagaCounts): string =>
    `(SELECT count(*)::int FROM (SELECT FROM ${table} WHERE ended_at IS NULL AND status = '${status}' LIMIT ${MOST_COUNTED}) n) AS ${status}`
  const { rows } = await query<SagaCounts>(sql, `SELECT ${open('running')}, ${open('compensating')}, ${open('stuck')}`)
  return rows[0] as SagaCounts
}
