/**
 * Finds sequences that are behind the rows they number. Logical replication copies rows but not sequences: after a cutover, the
 * next row gets a number that is taken, or one below those of older rows.
 */

import { quoteIdentifier, type SqlExecutor } from './sql.ts'
import { SqlError } from './sql-error.ts'

/** A sequence whose next value is not above the highest value of its column. */
export interface SequenceBehind {
  readonly table: string
  readonly column: string
  /** With its schema, quoted. */
  readonly sequence: string
  /** The last value of the sequence; 0 if it was never used. */
  readonly last: bigint
  /** The highest value of the column. */
  readonly highest: bigint
  /** The statement that repairs it. */
  readonly remedy: string
}

interface Row {
  readonly table: string
  readonly column: string
  readonly sequence: string
  readonly last: string | null
}

/** Tables that may be large and whose order of numbers matters. The transport itself checks `transport_log`. */
export const NUMBERED_TABLES: readonly string[] = [
  'outbox',
  'saga_event',
  'saga_undo_image',
  'lock_waiter',
  'lock_audit',
  'transport_partition',
  'transport_group',
  'transport_delayed',
  'pipeline_window',
]

/** The sequences of these tables that are behind; missing tables are skipped. Reads the highest number of each table. */
export async function sequencesBehind(
  sql: SqlExecutor,
  schema: string,
  tables: readonly string[] = NUMBERED_TABLES,
): Promise<readonly SequenceBehind[]> {
  const { rows } = await sql.query<Row>(
    `SELECT c.relname AS "table", a.attname AS "column", format('%I.%I', n.nspname, s.relname) AS sequence,
       pg_catalog.pg_sequence_last_value(s.oid)::text AS last
     FROM pg_catalog.pg_class s
     JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
     JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE s.relkind = 'S' AND n.nspname = $1 AND c.relname = ANY ($2::text[])
       AND CASE WHEN s.relkind = 'S' THEN pg_catalog.has_sequence_privilege(s.oid, 'USAGE, SELECT') ELSE false END
       AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
     ORDER BY 1, 2`,
    [schema, tables],
  )
  const behind: SequenceBehind[] = []
  for (const { table, column, sequence, last } of rows) {
    const highest = BigInt(await highestOf(sql, schema, table, column))
    // Rows may have been added since the sequence was read, so it is read again, now after the rows.
    const given = highest <= BigInt(last ?? 0) ? highest : await lastOf(sql, sequence)
    if (highest <= given) continue
    const remedy = `SELECT setval('${sequence.replaceAll("'", "''")}', ${highest})`
    behind.push({ table, column, sequence, last: given, highest, remedy })
  }
  return behind
}

/** @throws `core.sequence_behind` */
export async function requireSequences(sql: SqlExecutor, schema: string, tables: readonly string[]): Promise<void> {
  const [first] = await sequencesBehind(sql, schema, tables)
  if (first === undefined) return
  const { last, highest } = first
  throw new SqlError('core.sequence_behind', { ...first, last: `${last}`, highest: `${highest}` })
}

/** @param sequence with its schema, quoted */
async function lastOf(sql: SqlExecutor, sequence: string): Promise<bigint> {
  const { rows } = await sql.query<{ last: string | null }>(
    'SELECT pg_catalog.pg_sequence_last_value($1::text::regclass)::text AS last',
    [sequence],
  )
  return BigInt(rows[0]?.last ?? 0)
}

async function highestOf(sql: SqlExecutor, schema: string, table: string, column: string): Promise<string> {
  const quoted = quoteIdentifier(schema)
  const number = quoteIdentifier(column)
  // The key of the outbox starts with the partition: one index lookup for each.
  const from =
    table === 'outbox'
      ? `${quoted}.outbox_lease p CROSS JOIN LATERAL
         (SELECT seq FROM ${quoted}.outbox o WHERE o.partition = p.partition ORDER BY o.seq DESC LIMIT 1) m`
      : `${quoted}.${quoteIdentifier(table)}`
  const { rows } = await sql.query<{ highest: string }>(
    `SELECT coalesce(max(${number}), 0)::text AS highest FROM ${from}`,
  )
  return rows[0]?.highest ?? '0'
}
