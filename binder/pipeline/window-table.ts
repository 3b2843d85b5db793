/**
 * Open windows: a row for each, which the transaction of each of their messages updates.
 *
 * A transaction that adds to a key's windows or closes one holds an advisory lock of that key until it commits, and reads the
 * time after it has the lock. So no message is added to a closed interval, and an interval has one window (or, with a limit in
 * number, one after the other), regardless of the number of instances and of redeliveries.
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

/** Identifies the windows of one key. An empty key stands for none. */
export interface WindowPlace {
  readonly pipeline: string
  readonly name: string
  readonly key: string
}

/** An open window. */
export interface OpenWindow {
  readonly id: string
  readonly count: number
  /** JSON; `null` before the first value was written. */
  readonly state: string | null
  /** Epoch ms of the interval, otherwise of the first message. */
  readonly startsAt: number
  /** End in epoch ms; `null`: it does not close by time. */
  readonly endsAt: number | null
  /** How long it stays open, in ms; `null` if it does not close by time. */
  readonly leftMs: number | null
  /** Current time of the database. */
  readonly now: number
}

/** A window after a message was added. */
export interface AddedWindow extends OpenWindow {
  /** If the message opened a window with an end: a window of the same key without one, from the previous release. */
  readonly endless: string | null
}

const MS = (at: string): string => `floor(extract(epoch FROM ${at}) * 1000)::float8`
const FINITE_END = `CASE WHEN isfinite(w.ends_at) THEN w.ends_at END`
const columns = (startsAt: string): string => `w.id::text AS id, w.count::float8 AS count, w.state,
  ${MS(startsAt)} AS "startsAt",
  ${MS(FINITE_END)} AS "endsAt",
  ceil(extract(epoch FROM ${FINITE_END} - clock_timestamp()) * 1000)::float8 AS "leftMs",
  ${MS('clock_timestamp()')} AS now`
const COLUMNS: string = columns('CASE WHEN isfinite(w.starts_at) THEN w.starts_at ELSE w.opened_at END')
const OF_PLACE = 'pipeline = $1 AND name = $2 AND key = $3'
/** Infinity is later than every time, so windows without an end need a separate condition. */
const LOST = `pipeline = $1 AND name = $2
  AND (ends_at < clock_timestamp() - $3::float8 * interval '1 ms' OR ends_at = 'infinity')`

export class WindowTable {
  readonly #table: string
  readonly #query: OwnQuery

  constructor(schema: string) {
    this.#table = `${quoteIdentifier(schema)}.pipeline_window`
    this.#query = ownQuery(schema, PIPELINE_PART.call)
  }

  /** Counts one more message in the current window, which it opens if there is none. */
  async add(tx: SqlTransaction, place: WindowPlace, everyMs: number | undefined): Promise<AddedWindow> {
    await this.#lock(tx, place)
    const { rows } = await (everyMs === undefined ? this.#addByCount(tx, place) : this.#addByTime(tx, place, everyMs))
    return rows[0] as AddedWindow
  }

  /** Windows left open by a release that closed by time are filled first, because no timer will end them. */
  #addByCount(tx: SqlTransaction, { pipeline, name, key }: WindowPlace) {
    return this.#query<AddedWindow>(
      tx,
      `WITH first AS (SELECT starts_at, ends_at FROM ${this.#table} WHERE ${OF_PLACE} ORDER BY starts_at, ends_at LIMIT 1)
       INSERT INTO ${this.#table} AS w (pipeline, name, key, starts_at, ends_at, opened_at, count)
       SELECT $1, $2, $3, coalesce((SELECT starts_at FROM first), '-infinity'),
         coalesce((SELECT ends_at FROM first), 'infinity'), clock_timestamp(), 1
       ON CONFLICT (pipeline, name, key, starts_at, ends_at) DO UPDATE SET count = w.count + 1
       RETURNING ${columns('w.opened_at')}, NULL AS endless`,
      [pipeline, name, key],
    )
  }

  #addByTime(tx: SqlTransaction, { pipeline, name, key }: WindowPlace, everyMs: number) {
    return this.#query<AddedWindow>(
      tx,
      `WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS t),
         number AS (SELECT t, floor(extract(epoch FROM t) * 1000 / $4::float8) AS n FROM clock)
       INSERT INTO ${this.#table} AS w (pipeline, name, key, starts_at, ends_at, opened_at, count)
       SELECT $1, $2, $3, to_timestamp(n * $4 / 1000.0), to_timestamp((n + 1) * $4 / 1000.0), t, 1 FROM number
       ON CONFLICT (pipeline, name, key, starts_at, ends_at) DO UPDATE SET count = w.count + 1
       RETURNING ${COLUMNS}, CASE WHEN w.count = 1 THEN (
         SELECT id::text FROM ${this.#table} WHERE ${OF_PLACE} AND starts_at = '-infinity' AND ends_at = 'infinity'
       ) END AS endless`,
      [pipeline, name, key, everyMs],
    )
  }

  async keep(tx: SqlTransaction, id: string, state: string): Promise<void> {
    await this.#query(tx, `UPDATE ${this.#table} SET state = $2 WHERE id = $1::bigint`, [id, state])
  }

  async remove(tx: SqlTransaction, id: string): Promise<void> {
    await this.#query(tx, `DELETE FROM ${this.#table} WHERE id = $1::bigint`, [id])
  }

  /**
   * Removes a window whose time has passed, or that has no end because a release closed by number alone.
   * @returns the window; one with `leftMs` above 0 is still open; `undefined`: closed before
   */
  async close(tx: SqlTransaction, place: WindowPlace, id: string): Promise<OpenWindow | undefined> {
    await this.#lock(tx, place)
    const its = [place.pipeline, place.name, place.key, id]
    const where = `${OF_PLACE} AND id = $4::bigint`
    const closed = await this.#query<OpenWindow>(
      tx,
      `DELETE FROM ${this.#table} AS w WHERE ${where} AND (ends_at <= clock_timestamp() OR ends_at = 'infinity')
       RETURNING ${COLUMNS}`,
      its,
    )
    if (closed.rows[0] !== undefined) return { ...closed.rows[0], leftMs: 0 }
    const open = await this.#query<OpenWindow>(tx, `SELECT ${COLUMNS} FROM ${this.#table} AS w WHERE ${where}`, its)
    return open.rows[0] && { ...open.rows[0], leftMs: Math.max(1, open.rows[0].leftMs ?? 1) }
  }

  /**
   * Looks for windows with overdue timers, or without timers.
   * @returns `undefined`: none; otherwise the number of the current 10 s interval by the database
   */
  async turnOfLost(sql: SqlExecutor, { pipeline, name }: WindowPlace, byMs: number): Promise<string | undefined> {
    const { rows } = await this.#query<{ turn: string }>(
      sql,
      `SELECT floor(extract(epoch FROM clock_timestamp()) / 10)::bigint::text AS turn
       WHERE EXISTS (SELECT FROM ${this.#table} WHERE ${LOST})`,
      [pipeline, name, byMs],
    )
    return rows[0]?.turn
  }

  /** Returns these windows, in the order of their ids. */
  async lost(
    sql: SqlExecutor,
    { pipeline, name }: WindowPlace,
    { byMs, after, limit }: { readonly byMs: number; readonly after: string; readonly limit: number },
  ): Promise<ReadonlyArray<{ readonly id: string; readonly key: string }>> {
    const { rows } = await this.#query<{ id: string; key: string }>(
      sql,
      `SELECT w.id::text AS id, key FROM ${this.#table} AS w WHERE ${LOST} AND w.id > $4::bigint ORDER BY w.id LIMIT $5`,
      [pipeline, name, byMs, after, limit],
    )
    return rows
  }

  async #lock(tx: SqlTransaction, { pipeline, name, key }: WindowPlace): Promise<void> {
    const text = JSON.stringify([this.#table, pipeline, name, key])
    await this.#query(tx, 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [text])
  }
}
