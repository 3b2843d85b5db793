/** Finds the existing tables of a schema. */
import type { SqlExecutor } from 'concordat/core'

/** Reads the catalog, which every role may read. */
export async function tablesIn(sql: SqlExecutor, schema: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')`,
    [schema],
  )
  return new Set(rows.map(({ name }) => name))
}
