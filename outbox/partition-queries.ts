/** A partition from the view of its relay: the functions of `sql-functions.ts`, called under a lease. */
import type { PublishOutcome } from '../binder/transport/transport.ts'
import { toError } from '../core/errors.ts'
import type { SqlClient } from '../core/sql.ts'
import type { UnansweredCalls } from '../core/unanswered-calls.ts'
import type { HeldLease } from './lease.ts'
import { moveRows, type RowMove } from './move-rows-to-log.ts'
import { type Hold, laneOf, type WindowRow } from './publish-window.ts'
import { MESSAGE_COLUMNS, type MessageRow, messageOf, requireDestination } from './rows.ts'
import { EVERYTHING, type PassedRows, type PassRequest, type Scan } from './scan-start.ts'
import type { OutboxTables } from './tables.ts'

export interface Window {
  readonly rows: readonly WindowRow[]
  /** Rows of other programs that contain no message. Rows behind them in the same lanes are not in `rows`. */
  readonly unreadable: readonly UnreadableRow[]
  /** Age of the first row in ms, by server time. */
  readonly lagMs: number
}

/** A row of the table that contains no message. */
export interface UnreadableRow {
  readonly seq: string
  readonly id: string
  readonly destination: string
  readonly error: Error
}

interface FetchedRow extends MessageRow {
  readonly seq: string
  readonly attempts: number
  readonly strikes: number
  /** Age of the first row only; computing it for each row took an eighth of the time of a window. */
  readonly age_ms: number | null
}

interface PassRow {
  readonly seq: string | null
  readonly id: string | null
  readonly has_more: boolean
  readonly oldest_running: string
  readonly own: string
}

export class PartitionQueries {
  readonly #sql: SqlClient
  readonly #tables: OutboxTables
  readonly #silence: UnansweredCalls
  readonly #guard: readonly [partition: number, owner: string, epoch: string]

  /** @param silence is informed of every statement */
  constructor(sql: SqlClient, tables: OutboxTables, lease: HeldLease, silence: UnansweredCalls) {
    this.#sql = sql
    this.#tables = tables
    this.#silence = silence
    this.#guard = [lease.partition, lease.owner, lease.epoch]
  }

  /**
   * The next rows that can be sent, in order; the first row is included whatever its size. Empty if this relay does not hold the
   * lease.
   * @param skip rows whose lanes are left out
   */
  async fetch(limit: number, maxBytes: number, skip: readonly WindowRow[], scan = EVERYTHING): Promise<Window> {
    return this.#fetch(limit, maxBytes, skip, scan, null)
  }

  /** The next row of one destination. */
  async first(destination: string): Promise<Window> {
    return this.#fetch(1, 1, [], EVERYTHING, destination)
  }

  /** Reads on through the rows of unavailable destinations. @see `outbox_pass` */
  async pass({ after, away, since }: PassRequest): Promise<PassedRows> {
    const read = this.#sql.query<PassRow>(`SELECT * FROM ${this.#tables.pass}($1, $2::bigint, $3, $4::text[], $5)`, [
      this.#guard[0],
      after?.seq ?? null,
      after?.id ?? null,
      [...away],
      since?.toString() ?? null,
    ])
    const { rows } = await this.#silence.track(read, 'read past the messages of unavailable destinations')
    const { seq, id, has_more, oldest_running, own } = rows[0] as PassRow
    const last = seq === null || id === null ? undefined : { seq, id }
    return { last, hasMore: has_more, oldestRunning: BigInt(oldest_running), own: BigInt(own) }
  }

  async #fetch(
    limit: number,
    maxBytes: number,
    skip: readonly WindowRow[],
    { away, after }: Scan,
    only: string | null,
  ): Promise<Window> {
    const lanes = [...new Map(skip.map((row) => [laneOf(row), row.message])).values()]
    const fetched = this.#sql.query<FetchedRow>(
      `WITH sized AS (
         SELECT *, sum(coalesce(octet_length(payload), 0)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes_so_far
         FROM ${this.#tables.window}($1, $2, $3::bigint, $4, $6::text[], $7::text[], $8::text[], $9::bigint, $10, $11)
       )
       SELECT seq::text AS seq, ${MESSAGE_COLUMNS}, attempts, strikes,
         CASE WHEN bytes_so_far <= coalesce(octet_length(payload), 0)
           THEN extract(epoch FROM clock_timestamp() - added_at)::float8 * 1000 END AS age_ms
       FROM sized WHERE bytes_so_far - coalesce(octet_length(payload), 0) < $5 ORDER BY sized.seq`,
      [
        ...this.#guard,
        limit,
        maxBytes,
        lanes.map((m) => m.destination),
        lanes.map((m) => m.key),
        [...away],
        after?.seq ?? null,
        after?.id ?? null,
        only,
      ],
    )
    const { rows } = await this.#silence.track(fetched, 'fetch messages of the outbox')
    return { ...readRows(rows), lagMs: Math.max(0, rows[0]?.age_ms ?? 0) }
  }

  /**
   * Deletes rows. Does not wait for the disk: after a crash of the server, deleted rows may be back and be published again under
   * the same ids, as if the crash had come a moment earlier.
   * @returns false if this relay does not hold the lease: nothing was deleted
   */
  async confirm(rows: readonly WindowRow[]): Promise<boolean> {
    return this.#owned(
      'delete confirmed messages of the outbox',
      `SELECT ${this.#tables.confirm}($1, $2, $3::bigint, string_to_array($4, ',')::bigint[], $5::text[]) AS owned,
         set_config('synchronous_commit', 'off', true)`,
      rows.map(({ seq }) => seq).join(','),
      idsOf(rows),
    )
  }

  /** Records failures. @returns as `confirm` */
  async hold(holds: readonly Hold[]): Promise<boolean> {
    const text = `SELECT ${this.#tables.hold}($1, $2, $3::bigint, $4::json) AS owned`
    return this.#owned('write down failed messages of the outbox', text, JSON.stringify(holds))
  }

  /** Moves rows of one destination into a log in this database. @returns one outcome per row. Never rejects */
  move(rows: readonly WindowRow[], log: RowMove['log']): Promise<readonly PublishOutcome[]> {
    const take: RowMove['take'] = async (tx, its) => {
      const { rows: taken } = await tx.query<{ seq: string }>(
        `DELETE FROM ${this.#tables.outbox} WHERE partition = $1 AND seq = ANY (string_to_array($4, ',')::bigint[]) AND id = ANY ($5::text[])
           AND EXISTS (SELECT 1 FROM ${this.#tables.lease} WHERE partition = $1 AND owner = $2 AND epoch = $3::bigint)
         RETURNING seq::text AS seq`,
        [...this.#guard, its.map(({ seq }) => seq).join(','), idsOf(its)],
      )
      return new Set(taken.map(({ seq }) => seq))
    }
    return this.#silence.track(
      moveRows({ sql: this.#sql, take, log }, rows),
      'move messages of the outbox to the log in its database',
    )
  }

  async #owned(what: string, text: string, ...change: readonly unknown[]): Promise<boolean> {
    const written = this.#sql.query<{ owned: boolean }>(text, [...this.#guard, ...change])
    const { rows } = await this.#silence.track(written, what)
    return rows[0]?.owned === true
  }
}

function idsOf(rows: readonly WindowRow[]): string[] {
  return rows.map(({ message }) => message.id)
}

/** Decodes row by row; an unreadable row blocks only its own key. */
function readRows(fetched: readonly FetchedRow[]): Pick<Window, 'rows' | 'unreadable'> {
  const rows: WindowRow[] = []
  const unreadable: UnreadableRow[] = []
  const blocked = new Set<string>()
  for (const row of fetched) {
    if (row.aggregateid !== null && blocked.size > 0 && blocked.has(laneText(row))) continue
    try {
      rows.push(windowRow(row))
    } catch (cause) {
      blocked.add(laneText(row))
      unreadable.push({ seq: row.seq, id: row.id, destination: row.aggregatetype, error: toError(cause) })
    }
  }
  return { rows, unreadable }
}

function laneText({ aggregatetype, aggregateid }: FetchedRow): string {
  return JSON.stringify([aggregatetype, aggregateid])
}

/** @throws for a row of another program that contains no message */
function windowRow(row: FetchedRow): WindowRow {
  requireDestination('aggregatetype', row.aggregatetype)
  return { seq: row.seq, message: messageOf(row), attempts: row.attempts, strikes: row.strikes }
}
