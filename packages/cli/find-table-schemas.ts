/** Which schemas of a database have a table. */
import type { SqlExecutor } from 'concordat/core'

const MOST = 20

/** Names of schemas that have the table, in their order, at most 20. Reads the catalog, which every role may read. */
export async function schemasWith(sql: SqlExecutor, table: string): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1 LIMIT ${MOST}`,
    [table],
  )
  return rows.map(({ name }) => name)
}
