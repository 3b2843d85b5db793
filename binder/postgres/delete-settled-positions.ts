import type { SqlTransaction } from '../../core/sql.ts'
import { lockOf, PARTITION_LOCK } from './functions.ts'
import type { StatementRunner, StatementTerms } from './statement-runner.ts'
import type { TransportTables } from './tables.ts'

/** Number of `transport_tick` rows per transaction, during which no positions are assigned in that partition for some ms. */
const AT_ONCE = 500
/** Time after which the server ends an abandoned transaction. */
const LEASE_MS = 5_000
const FIRST = String(-(2n ** 63n))

/** Planner settings for work under a lock, and the limit for waiting for one. */
const SETTINGS = `SELECT set_config('lock_timeout', '100ms', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

const UPKEEP: StatementTerms = { isUpkeep: true }

export interface Sweep {
  readonly database: StatementRunner
  readonly tables: TransportTables
  readonly isOver: () => boolean
}

/**
 * Deletes the positions in a closed segment that every group has settled, in steps and one partition at a time. `transport_clear`
 * would do it for all at once, during which no positions are assigned; it handles the unsettled rest.
 * @throws TransportError
 */
export async function sweep({ database, tables, isOver }: Sweep, segment: number): Promise<void> {
  const { rows } = await database.query<{ id: number }>(
    'look what may go of a segment',
    `SELECT p.id FROM ${tables.partition} p JOIN ${tables.segment} s ON s.segment = $1::smallint
     WHERE p.retention_ms IS NULL OR s.closed_at <= clock_timestamp() - p.retention_ms * interval '1 ms' ORDER BY p.id`,
    [segment],
    UPKEEP,
  )
  for (const { id } of rows) {
    let from: string | undefined = FIRST
    while (from !== undefined && !isOver()) {
      const at: string = from
      from = await database.transaction(
        'free a part of a segment',
        LEASE_MS,
        (tx) => sweepSome(tx, tables, { partition: id, segment, from: at }),
        UPKEEP,
      )
    }
  }
}

interface Some {
  readonly partition: number
  readonly segment: number
  readonly from: string
}

/**
 * Deletes from the lowest position up to the first that has to stay, so the rest has no gaps.
 * @returns where to continue, `undefined` at the end
 */
async function sweepSome(
  tx: SqlTransaction,
  tables: TransportTables,
  { partition, segment, from }: Some,
): Promise<string | undefined> {
  await tx.query(SETTINGS)
  await tx.query(
    `SELECT pg_advisory_xact_lock(${PARTITION_LOCK}, ${lockOf('$1::int')}) FROM ${tables.ring} r WHERE r.one`,
    [partition],
  )
  const { rows } = await tx.query<{ next: string | null; count: string }>(
    `WITH low AS MATERIALIZED (
       SELECT coalesce(min(l.settled), 9e18::bigint) AS settled,
         (SELECT t.first FROM ${tables.tick} t WHERE t.part = $1::int ORDER BY t.first DESC LIMIT 1) AS newest
       FROM ${tables.partition} p LEFT JOIN ${tables.group} g ON g.destination = p.destination
       LEFT JOIN LATERAL (
         SELECT x.settled FROM ${tables.progress} x WHERE x.grp = g.id AND x.part = p.id ORDER BY x.ver DESC LIMIT 1
       ) l ON true WHERE p.id = $1::int
     ), lowest AS MATERIALIZED (
       SELECT t.first, t.first + t.n AS next, t.segments FROM ${tables.tick} t
       WHERE t.part = $1::int AND t.first >= $3::bigint ORDER BY t.first LIMIT ${AT_ONCE}
     ), gone AS MATERIALIZED (
       SELECT * FROM (
         SELECT w.first, w.next, w.segments, bool_and(w.first < low.newest
           AND (w.segments = '{}' OR ($2::smallint = ANY (w.segments) AND w.next <= low.settled))) OVER (ORDER BY w.first) AS goes
         FROM lowest w, low
       ) each WHERE goes
     ), deleted AS (
       DELETE FROM ${tables.tick} t USING gone WHERE t.part = $1::int AND t.first = gone.first AND gone.segments <> '{}'
     )
     SELECT max(next)::text AS next, count(*)::text AS count FROM gone`,
    [partition, segment, from],
  )
  const [row] = rows
  return row?.next != null && Number(row.count) === AT_ONCE ? row.next : undefined
}
