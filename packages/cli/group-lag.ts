/** Groups of the log in the database, and how far behind they are. */

import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { DEFAULT_SCHEMA } from 'concordat/extension'

/** A group of a channel on the PostgreSQL transport. */
export interface GroupLine {
  readonly channel: string
  readonly group: string
  /** Messages that it has not settled. */
  readonly lag: number
  /** True: there are more; counting stopped. */
  readonly isCut: boolean
  /** Processes that read it now. */
  readonly readers: number
}

const MAX_GROUPS = 1_000
/** Reads one row more than a report shows, to find out whether there are more. */
const READ_GROUPS = MAX_GROUPS + 1
/** In a partition, of messages that no reader has seen: their number tells nobody more. */
const MAX_FRESH = 100_000

/**
 * Services may have a schema each and share a log, so the log is looked for in their schema, then in the default one, then in whichever single
 * schema has one.
 * @returns `undefined` when the database has no log, or several others
 */
export async function logSchemaOf(sql: SqlClient, schema: string): Promise<string | undefined> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'transport_group' AND c.relkind IN ('r', 'p') ORDER BY 1`,
  )
  const names = rows.map(({ name }) => name)
  return [schema, DEFAULT_SCHEMA].find((name) => names.includes(name)) ?? (names.length === 1 ? names[0] : undefined)
}

/** Whether a dump of another cluster was restored: messages sent to such a log are not delivered before `repair`. */
export async function isRestored(sql: SqlClient, schema: string): Promise<boolean> {
  const { rows } = await sql.query<{ restored: boolean }>(
    `SELECT ${quoteIdentifier(schema)}.transport_is_restored() AS restored`,
  )
  return rows[0]?.restored === true
}

/** Says which groups a report lacks; `undefined` when it has all. */
export function missingGroups(groups: readonly GroupLine[]): string | undefined {
  const { length } = groups
  if (length <= MAX_GROUPS) return undefined
  return `the log in the database has more than ${MAX_GROUPS} groups: those made after the first ${length} were not counted`
}

/**
 * None without the log. At most 1 001, those made first: `missingGroups` takes more than 1 000 for a cut. Messages get their positions
 * when a reader comes, so those without one count, too: up to 100 000 per partition. So do delayed ones that are due.
 */
export async function groupsIn(sql: SqlClient, schema: string | undefined): Promise<readonly GroupLine[]> {
  if (schema === undefined) return []
  const s = quoteIdentifier(schema)
  const { rows } = await sql.query<GroupLine>(
    `WITH chosen AS MATERIALIZED (SELECT * FROM ${s}.transport_group ORDER BY id LIMIT ${READ_GROUPS}),
     due AS MATERIALIZED (SELECT y.part, count(*) AS n FROM (
       SELECT part FROM ${s}.transport_delayed WHERE due <= now() ORDER BY due, seq LIMIT ${MAX_FRESH}) y GROUP BY y.part),
     part AS MATERIALIZED (
       SELECT d.id, d.destination, t.next + fresh.n + coalesce(due.n, 0) AS next,
         fresh.n >= ${MAX_FRESH} OR (SELECT sum(n) FROM due) >= ${MAX_FRESH} AS cut
       FROM ${s}.transport_partition d
       CROSS JOIN LATERAL (
         SELECT first + n AS next, snap FROM ${s}.transport_tick WHERE part = d.id ORDER BY first DESC LIMIT 1) t
       CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
         SELECT FROM ${s}.transport_log l WHERE l.part = d.id AND l.xid >= pg_snapshot_xmax(t.snap)
         UNION ALL
         SELECT FROM pg_snapshot_xip(t.snap) x(x), LATERAL (
           SELECT FROM ${s}.transport_log l WHERE l.part = d.id AND l.xid = x.x OFFSET 0) l
         LIMIT ${MAX_FRESH}) f) fresh
       LEFT JOIN due ON due.part = d.id
       WHERE d.destination IN (SELECT destination FROM chosen))
     SELECT g.destination AS channel, g.name AS "group",
       coalesce(sum(d.next - p.settled - cardinality(p.done)), 0)::float8 AS lag, coalesce(bool_or(d.cut), false) AS "isCut",
       (SELECT count(*)::int FROM ${s}.transport_session x
          WHERE g.id = ANY (x.groups) AND x.live_until > clock_timestamp()) AS readers
     FROM chosen g
     JOIN part d ON d.destination = g.destination
     CROSS JOIN LATERAL (
       SELECT settled, done FROM ${s}.transport_progress WHERE grp = g.id AND part = d.id ORDER BY ver DESC LIMIT 1) p
     GROUP BY g.id, g.destination, g.name ORDER BY g.destination, g.name`,
  )
  return rows
}
