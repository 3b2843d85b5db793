/** Restores a database to its state before the histories, in some milliseconds: a new PGlite takes a second. */
import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { quoteLiteral } from 'concordat/extension'
import { changeBetween, shapeOf } from './database-schema-diff.ts'

const SCHEMA = 'concordat_simulation'
const NOT_OURS = `n.nspname NOT IN ('pg_catalog', 'information_schema', '${SCHEMA}') AND n.nspname NOT LIKE 'pg\\_%'`

interface Column {
  readonly table: string
  readonly rows: string
  readonly columns: string
}

/** The initial state of a database. */
export interface Kept {
  /** Restores all rows and sequences, and sets random numbers to this seed. */
  restore(seed: number): Promise<void>
  /** A change that cannot be restored: `table public.t was made`, or dropped, or changed. */
  change(): Promise<string | undefined>
}

/** Records all current rows and sequences, and the description of all other objects. */
export async function keepForRestoring(sql: SqlClient): Promise<Kept> {
  // A plan that depends on how often a statement was run before would read rows in another order.
  await sql.query('SET plan_cache_mode = force_generic_plan')
  await sql.query(`DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`)
  await sql.query(`CREATE SCHEMA ${SCHEMA}`)
  const { rows: tables } = await sql.query<Column>(
    `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS table, '' AS rows,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND ${NOT_OURS} ORDER BY 1`,
  )
  const filled: string[] = []
  for (const [index, { table, columns }] of tables.entries()) {
    const { rows } = await sql.query(`SELECT 1 FROM ${table} LIMIT 1`)
    if (rows.length === 0) continue
    const copy = `${SCHEMA}.${quoteIdentifier(`copy_${index}`)}`
    await sql.query(`CREATE TABLE ${copy} AS SELECT ${columns} FROM ${table}`)
    filled.push(`INSERT INTO ${table} (${columns}) OVERRIDING SYSTEM VALUE SELECT ${columns} FROM ${copy};`)
  }
  await sql.query(
    restoring(
      tables.map(({ table }) => table),
      filled,
      await sequencesOf(sql),
    ),
  )
  const shape = await shapeOf(sql, NOT_OURS)
  return {
    restore: async (seed) => {
      await sql.query('DISCARD TEMP')
      await sql.query(`SELECT ${SCHEMA}.restore($1)`, [seed])
      await sql.query('DISCARD PLANS')
    },
    change: async () => changeBetween(shape, await shapeOf(sql, NOT_OURS)),
  }
}

async function sequencesOf(sql: SqlClient): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string; value: string | null; start: string }>(
    `SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename) AS name, last_value::text AS value,
       start_value::text AS start
     FROM pg_sequences s WHERE ${NOT_OURS.replaceAll('n.nspname', 's.schemaname')} ORDER BY 1`,
  )
  return rows.map(({ name, value, start }) => {
    return `PERFORM setval(${quoteLiteral(name)}, ${value ?? start}, ${value !== null});`
  })
}

/**
 * A table that has contained a row is truncated: its rows are then stored as in a new table, so that they are read in that order.
 */
function restoring(tables: readonly string[], filled: readonly string[], sequences: readonly string[]): string {
  const all = tables.length === 0 ? 'ARRAY[]::text[]' : `ARRAY[${tables.map(quoteLiteral).join(', ')}]`
  return `CREATE FUNCTION ${SCHEMA}.restore(seed bigint) RETURNS void LANGUAGE plpgsql AS $restore$
    DECLARE used text;
    BEGIN
      PERFORM set_config('session_replication_role', 'replica', true);
      SELECT string_agg(t, ', ') INTO used FROM unnest(${all}) AS t WHERE pg_relation_size(t::regclass) > 0;
      IF used IS NOT NULL THEN EXECUTE 'TRUNCATE ' || used || ' CASCADE'; END IF;
      ${filled.join('\n      ')}
      ${sequences.join('\n      ')}
      PERFORM pg_advisory_unlock_all();
      PERFORM setseed((seed % 1000000) / 1000000.0);
    END $restore$`
}
