import type { SqlClient } from '../core/sql.ts'
import type { OutboxTables } from './tables.ts'

/** Unpublished messages, over all relays. */
export interface OutboxStats {
  /** Messages not published yet, including parked ones; counted up to 100 000. */
  readonly pending: number
  /** Age in ms of the oldest of them, by server time; 0 without messages. */
  readonly oldestAgeMs: number
  /** Number of keys held back by a failed message, including parked ones; each message without a key counts as one. */
  readonly blockedKeys: number
  readonly parked: number
}

const COUNT_LIMIT = 100_000

/** Bounded work: the count stops at a limit; the rest reads one row per partition and the failed rows. */
export async function readStats(sql: SqlClient, tables: OutboxTables): Promise<OutboxStats> {
  const { rows } = await sql.query<{ pending: number; oldest: number; blocked: number; parked: number }>(
    `SELECT
       (SELECT count(*)::int FROM (SELECT 1 FROM ${tables.outbox} LIMIT ${COUNT_LIMIT}) counted) AS pending,
       (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - head.added_at)) * 1000, 0)::float8
          FROM ${tables.lease} lease CROSS JOIN LATERAL (
            SELECT added_at FROM ${tables.outbox} WHERE partition = lease.partition ORDER BY seq LIMIT 1) head) AS oldest,
       (SELECT count(DISTINCT (aggregatetype, aggregateid, CASE WHEN aggregateid IS NULL THEN seq END))::int
          FROM ${tables.outbox} WHERE next_attempt_at > now()) AS blocked,
       (SELECT count(*)::int FROM ${tables.outbox} WHERE next_attempt_at = 'infinity') AS parked`,
  )
  const row = rows[0] as (typeof rows)[number]
  return { pending: row.pending, oldestAgeMs: Math.max(0, row.oldest), blockedKeys: row.blocked, parked: row.parked }
}
