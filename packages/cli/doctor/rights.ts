/** Compares the role's rights on the tables with those of `migrate grants`. */
import { DEFAULT_SCHEMA, shellWord } from 'concordat/extension'
import type { Examined } from './check-context.ts'
import { type DoctorLine, fail, ok } from './line.ts'

interface Right {
  readonly role: string
  readonly name: string
  readonly missing: string
}

export async function examineRights({ sql, schema, tables }: Examined): Promise<readonly DoctorLine[]> {
  if (tables.size === 0) return []
  const { rows } = await sql.query<Right>(
    `WITH s AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
     SELECT current_user::text AS role, $1 AS name, 'USAGE' AS missing FROM s WHERE NOT has_schema_privilege(oid, 'USAGE')
     UNION ALL SELECT current_user::text, c.relname::text, p.name FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
       CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(name)
       WHERE (c.relname <> 'concordat_migration' OR p.name = 'SELECT')
         AND CASE WHEN c.relkind IN ('r', 'p') THEN NOT has_table_privilege(c.oid, p.name) END
     UNION ALL SELECT current_user::text, c.relname::text, 'USAGE' FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
       WHERE CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') END
     UNION ALL SELECT current_user::text, f.proname || '()', 'EXECUTE' FROM s JOIN pg_catalog.pg_proc f ON f.pronamespace = s.oid
       WHERE NOT has_function_privilege(f.oid, 'EXECUTE')`,
    [schema],
  )
  const role = rows[0]?.role
  if (role === undefined) return [ok('rights', 'the role may use all tables')]
  const first = rows.slice(0, 3).map(({ name, missing }) => `${missing} on ${name}`)
  const more = rows.length > 3 ? ` and ${rows.length - 3} more` : ''
  const options = `--role ${shellWord(role)}${schema === DEFAULT_SCHEMA ? '' : ` --schema ${shellWord(schema)}`}`
  const remedy = `run what this prints, as the owner of the tables: npx concordat migrate grants ${options}`
  return [fail('rights', `the role "${role}" lacks ${first.join(', ')}${more}`, remedy)]
}
