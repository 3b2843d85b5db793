/** Groups of the log in the database, and their lag. */

import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { DEFAULT_SCHEMA } from 'concordat/extension'
import { MOST_COUNTED } from './words.ts'

/** A group of a channel on the PostgreSQL transport. */
export interface GroupLine {
  readonly channel: string
  readonly group: string
  /** Number of messages that it has not settled. */
  readonly lag: number
  /** True: there are more; counting stopped. */
  readonly isCut: boolean
  /** Number of processes that read it now. */
  readonly readers: number
}

const MAX_GROUPS = 1_000
/** Reads one row more than a report shows, to find out whether there are more. */
const READ_GROUPS = MAX_GROUPS + 1

/**
 * Services may have a schema each and share a log, so the log is looked for in their schema, then in the default one, then in whichever single
 * schema has one. A log in another schema that this role may not read belongs to other services.
 * @returns `undefined` when the database has no log, or several others
 */
export async function logSchemaOf(sql: SqlClient, schema: string): Promise<string | undefined> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'transport_group' AND c.relkind IN ('r', 'p')
       AND (n.nspname = $1 OR has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1`,
    [schema],
  )
  const names = rows.map(({ name }) => name)
  return [schema, DEFAULT_SCHEMA].find((name) => names.includes(name)) ?? (names.length === 1 ? names[0] : undefined)
}

/** Whether the dump of another cluster was restored: messages sent to such a log are not delivered before `repair`. */
export async function isRestored(sql: SqlClient, schema: string): Promise<boolean> {
  const { rows } = await sql.query<{ restored: boolean }>(
    `SELECT ${quoteIdentifier(schema)}.transport_is_restored() AS restored`,
  )
  return rows[0]?.restored === true
}

/** Names the groups that a report lacks; `undefined` when it has all. */
export function missingGroups(groups: readonly GroupLine[]): string | undefined {
  const { length } = groups
  if (length <= MAX_GROUPS) return undefined
  return `the log in the database has more than ${MAX_GROUPS} groups: those made after the first ${length} were not counted`
}

/**
 * Returns at most 1,001 groups, those created first, and none without a log; with more than 1,000, `missingGroups` reports a
 * cut list. Messages get their positions when a reader comes, so those without a position count too, up to 100,000 per
 * partition, and so do delayed messages that are due.
 */
export async function groupsIn(sql: SqlClient, schema: string | undefined): Promise<readonly GroupLine[]> {
  if (schema === undefined) return []
  const { rows } = await sql.query<GroupLine>(
    `SELECT destination AS channel, name AS "group", lag, is_cut AS "isCut", readers
     FROM ${quoteIdentifier(schema)}.transport_groups(${READ_GROUPS}, ${MOST_COUNTED})`,
  )
  return rows
}
