/**
 * Open windows: a row for each, which the transaction of each of their messages changes.
 *
 * Whoever adds to a key's windows or closes one holds an advisory lock of that key until it commits, and asks for the time
 * after it has it. So no message is added to an interval that was closed, and an interval has one window (or, with a limit in
 * number, one after the other), however many instances and whatever is redelivered.
 */
import type { SqlPart } from '../../core/migrate.ts'
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor, type SqlTransaction } from '../../core/sql.ts'

export const PIPELINE_PART: SqlPart = {
  name: 'pipeline',
  call: 'migratePipelines(sql)',
  migrations: [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.pipeline_window (
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           pipeline text NOT NULL, name text NOT NULL, key text NOT NULL,
           starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL,
           opened_at timestamptz NOT NULL, count bigint NOT NULL, state text,
           UNIQUE (pipeline, name, key, starts_at, ends_at)
         ) WITH (fillfactor = 50)`,
        `CREATE INDEX pipeline_window_due ON {schema}.pipeline_window (pipeline, name, ends_at)`,
      ],
    },
  ],
}

/** Which windows are meant: those of one key. An empty key stands for none. */
export interface WindowPlace {
  readonly pipeline: string
  readonly name: string
  readonly key: string
}

/** An open window as it is after a message was added. */
export interface OpenWindow {
  readonly id: string
  readonly count: number
  /** JSON; `null` before the first value was written. */
  readonly state: string | null
  /** Epoch ms: of the interval, else of the first message. */
  readonly startsAt: number
  /** `null`: it does not close by time. */
  readonly endsAt: number | null
  /** How long it stays open, in ms. */
  readonly leftMs: number | null
  /** The time by the database. */
  readonly now: number
}

const MS = (at: string): string => `floor(extract(epoch FROM ${at}) * 1000)::float8`
const FINITE_END = `CASE WHEN isfinite(w.ends_at) THEN w.ends_at END`
const COLUMNS = `w.id::text AS id, w.count::float8 AS count, w.state,
  ${MS('CASE WHEN isfinite(w.starts_at) THEN w.starts_at ELSE w.opened_at END')} AS "startsAt",
  ${MS(FINITE_END)} AS "endsAt",
  ceil(extract(epoch FROM ${FINITE_END} - clock_timestamp()) * 1000)::float8 AS "leftMs",
  ${MS('clock_timestamp()')} AS now`

export class WindowTable {
  readonly #table: string
  readonly #query: OwnQuery

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.pipeline_window`
    this.#query = ownQuery(schema, PIPELINE_PART.call)
  }

  /** Counts one more message in the window of now, which it opens if there is none. */
  async add(tx: SqlTransaction, place: WindowPlace, everyMs: number | undefined): Promise<OpenWindow> {
    await this.#lock(tx, place)
    const interval =
      everyMs === undefined
        ? `'-infinity'::timestamptz AS starts_at, 'infinity'::timestamptz AS ends_at`
        : `to_timestamp(floor(extract(epoch FROM t) * 1000 / $4::float8) * $4 / 1000.0) AS starts_at,
           to_timestamp((floor(extract(epoch FROM t) * 1000 / $4::float8) + 1) * $4 / 1000.0) AS ends_at`
    const { rows } = await this.#query<OpenWindow>(
      tx,
      `WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS t), interval_of_now AS (SELECT t, ${interval} FROM clock)
       INSERT INTO ${this.#table} AS w (pipeline, name, key, starts_at, ends_at, opened_at, count)
       SELECT $1, $2, $3, starts_at, ends_at, t, 1 FROM interval_of_now
       ON CONFLICT (pipeline, name, key, starts_at, ends_at) DO UPDATE SET count = w.count + 1
       RETURNING ${COLUMNS}`,
      [place.pipeline, place.name, place.key, ...(everyMs === undefined ? [] : [everyMs])],
    )
    return rows[0] as OpenWindow
  }

  async keep(tx: SqlTransaction, id: string, state: string): Promise<void> {
    await this.#query(tx, `UPDATE ${this.#table} SET state = $2 WHERE id = $1::bigint`, [id, state])
  }

  async remove(tx: SqlTransaction, id: string): Promise<void> {
    await this.#query(tx, `DELETE FROM ${this.#table} WHERE id = $1::bigint`, [id])
  }

  /** Removes a window whose time is over. @returns it; one with `leftMs` above 0 is still open; `undefined`: closed before */
  async close(tx: SqlTransaction, place: WindowPlace, id: string): Promise<OpenWindow | undefined> {
    await this.#lock(tx, place)
    const closed = await this.#query<OpenWindow>(
      tx,
      `DELETE FROM ${this.#table} AS w WHERE id = $1::bigint AND ends_at <= clock_timestamp() RETURNING ${COLUMNS}`,
      [id],
    )
    if (closed.rows[0] !== undefined) return { ...closed.rows[0], leftMs: 0 }
    const open = await this.#query<OpenWindow>(tx, `SELECT ${COLUMNS} FROM ${this.#table} AS w WHERE id = $1::bigint`, [
      id,
    ])
    return open.rows[0] && { ...open.rows[0], leftMs: Math.max(1, open.rows[0].leftMs ?? 1) }
  }

  /** Windows whose timers should have come: at most a thousand, the oldest first. */
  async overdue(
    sql: SqlExecutor,
    pipeline: string,
    name: string,
    byMs: number,
  ): Promise<ReadonlyArray<{ readonly id: string; readonly key: string }>> {
    const { rows } = await this.#query<{ id: string; key: string }>(
      sql,
      `SELECT id::text AS id, key FROM ${this.#table}
       WHERE pipeline = $1 AND name = $2 AND ends_at < clock_timestamp() - $3::float8 * interval '1 ms'
       ORDER BY ends_at LIMIT 1000`,
      [pipeline, name, byMs],
    )
    return rows
  }

  async #lock(tx: SqlTransaction, { pipeline, name, key }: WindowPlace): Promise<void> {
    const text = JSON.stringify([this.#table, pipeline, name, key])
    await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [text])
  }
}
