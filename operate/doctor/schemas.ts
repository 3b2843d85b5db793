/** Services may have a schema each: the others are not looked at, and that is said. */
import { type DoctorLine, ok, word } from './line.ts'
import type { Examined } from './look.ts'

const MOST = 20

export async function examineSchemas({ sql, schema }: Examined): Promise<readonly DoctorLine[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'concordat_migration' AND c.relkind = 'r' AND n.nspname <> $1 ORDER BY 1 LIMIT ${MOST}`,
    [schema],
  )
  if (rows.length === 0) return []
  const others = rows.map(({ name }) => `--schema ${word(name)}`).join(', ')
  return [ok('schemas', `looked at "${schema}" only; other services have theirs: ${others}`)]
}
