/** Which tables of a schema there are. */
import type { SqlExecutor } from 'concordat/core'

/** From the catalog, which everybody may read. */
export async function tablesIn(sql: SqlExecutor, schema: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')`,
    [schema],
  )
  return new Set(rows.map(({ name }) => name))
}
