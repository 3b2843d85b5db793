/** Finds the schemas of a database that have a table. */
import type { SqlExecutor } from 'concordat/core'

/** For a message. */
const MOST = 20

/** Names of schemas that have the table, in their order. Reads the catalog, which every role may read. */
export async function schemasWith(sql: SqlExecutor, table: string): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1`,
    [table],
  )
  return rows.map(({ name }) => name)
}

/** Joins names of schemas: at most the first 20, and the number of the others. */
export function listed(names: readonly string[], between = ', '): string {
  const more = names.length - MOST
  return `${names.slice(0, MOST).join(between)}${more > 0 ? ` and ${more} more` : ''}`
}
