/**
 * Leases of sagas, and their due times.
 *
 * All times are the server's. `due_at` is when an instance must read the row: with an `owner` it is the end of the lease, without
 * one the time of a retry or of a late reply. A stuck saga has an owner until `onStuck` was called. `epoch` counts changes of
 * ownership: the holder of epoch n cannot write once it is n + 1.
 */
import { type OwnQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import { nextRevisionSql } from './revision.ts'
import { COLUMNS, STORED, sagaQuery, type Track } from './saga-row-columns.ts'
import type { ClaimedRow, SagaKey, SagaLease, SagaVersion } from './store-types.ts'

/** A subquery is evaluated once; comparing with the bare, volatile function would read every row, index or not. */
const NOW = '(SELECT clock_timestamp())'

export class LeaseStore {
  readonly #query: OwnQuery
  readonly #saga: string
  /** Locks the rows of held leases, in key order like `saga_write`, so that the two cannot deadlock. */
  readonly #held: string

  constructor(schema: string, track?: Track) {
    this.#query = sagaQuery(schema, track)
    this.#saga = `${quoteIdentifier(schema)}.saga`
    this.#held = `SELECT s.name, s.id FROM ${this.#saga} s
      JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS h(name, id, epoch) USING (name, id, epoch)
      WHERE s.owner = $1 ORDER BY s.name, s.id FOR UPDATE OF s`
  }

  /**
   * Takes due sagas of these versions: late replies and retries, and sagas of dead owners. `nextDueMs`: in how many ms the next
   * of the remaining sagas is due; `undefined` when none waits. Each version is queried separately, so sagas of other versions,
   * of which many may stay due after a rollback of a deployment, are not read.
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
         SELECT d.name, d.id, d.former FROM unnest($3::text[], $4::int[]) AS v(name, version) CROSS JOIN LATERAL (
           SELECT s.name, s.id, s.owner AS former, s.due_at FROM ${this.#saga} s
           WHERE s.name = v.name AND s.version = v.version AND s.due_at <= (SELECT now FROM clock)
           ORDER BY s.due_at LIMIT $5 FOR UPDATE SKIP LOCKED) d ORDER BY d.due_at LIMIT $5
       ), taken AS (
         UPDATE ${this.#saga} s SET owner = $1, epoch = epoch + 1, revision = ${nextRevisionSql('s.revision')}, wait_ms = $2,
           due_at = clock_timestamp() + $2 * interval '1 millisecond'
         FROM due WHERE s.name = due.name AND s.id = due.id RETURNING ${STORED}, due.former
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
   * Repairs due times that are too far in the future, because the server's clock was set back since, or another server wrote
   * them. A lease or pause that would last longer than its full length then ends that length from now. If the last write is in
   * the future, it counts as now, and the deadline moves back by the same amount.
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

  /** Returns in how many ms the next row is due, same as in `claim`. */
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

  /** Extends leases. Returns the ones that are still held. */
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

  /** Gives leases back at once: the sagas are due now, and a late write of this owner is refused. */
  async release(sql: SqlExecutor, owner: string, leases: readonly SagaLease[]): Promise<void> {
    await this.#query(
      sql,
      `WITH held AS MATERIALIZED (${this.#held})
       UPDATE ${this.#saga} s SET owner = CASE WHEN s.status = 'stuck' THEN s.owner END,
           epoch = s.epoch + 1, revision = ${nextRevisionSql('s.revision')}, due_at = clock_timestamp(), wait_ms = 0
       FROM held WHERE s.name = held.name AND s.id = held.id`,
      [owner, ...columns(leases)],
    )
  }

  /** Ends the leases of owners whose name does not have this prefix, because their processes are known to be gone. */
  async expireOthers(sql: SqlExecutor, ownerPrefix: string): Promise<void> {
    await this.#query(
      sql,
      `UPDATE ${this.#saga} SET owner = CASE WHEN status = 'stuck' THEN owner END,
           epoch = epoch + 1, revision = ${nextRevisionSql()}, due_at = clock_timestamp(), wait_ms = 0
       WHERE due_at IS NOT NULL AND owner IS NOT NULL AND NOT starts_with(owner, $1)`,
      [ownerPrefix],
    )
  }

  /** Returns unfinished sagas without an owner, by key. */
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
}

function columns(leases: readonly SagaLease[]): [string[], string[], number[]] {
  return [leases.map(({ name }) => name), leases.map(({ id }) => id), leases.map(({ epoch }) => epoch)]
}
