/** Compares the rights of the session's role on the tables of a schema with those that `npx concordat migrate grants` prints. */
import { causesOf } from './errors.ts'
import type { SqlExecutor } from './sql.ts'
import { describeMissingRights, SqlError } from './sql-error.ts'
import { isDenied } from './sql-unavailable.ts'

/** Rights that a role lacks in a schema. */
export interface MissingRights {
  readonly role: string
  /** At least one, such as `SELECT on outbox`. */
  readonly lacking: readonly string[]
  /** Contains the role and the first of its missing rights. */
  readonly text: string
  /** Contains the command whose output grants them. */
  readonly remedy: string
}

/**
 * Rights that the role of this session lacks in a schema. Reads only the catalog, which every role may read.
 * @returns `undefined` if it lacks none
 */
export async function missingRights(sql: SqlExecutor, schema: string): Promise<MissingRights | undefined> {
  const { rows } = await sql.query<{ role: string; lacks: string }>(
    `WITH s AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
     SELECT current_user::text AS role, 'USAGE on ' || $1 AS lacks FROM s WHERE NOT has_schema_privilege(oid, 'USAGE')
     UNION ALL SELECT current_user::text, p.name || ' on ' || c.relname FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
       CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(name)
       WHERE (c.relname <> 'concordat_migration' OR p.name = 'SELECT')
         AND CASE WHEN c.relkind IN ('r', 'p') THEN NOT has_table_privilege(c.oid, p.name) END
     UNION ALL SELECT current_user::text, 'USAGE on ' || c.relname FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
       WHERE CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') END
     UNION ALL SELECT current_user::text, 'EXECUTE on ' || f.proname || '()' FROM s JOIN pg_catalog.pg_proc f ON f.pronamespace = s.oid
       WHERE NOT has_function_privilege(f.oid, 'EXECUTE')`,
    [schema],
  )
  const role = rows[0]?.role
  if (role === undefined) return undefined
  const lacking = rows.map(({ lacks }) => lacks)
  return { role, lacking, ...describeMissingRights({ schema, role, lacking }) }
}

/**
 * Runs a check of a part's tables. If the server denies it a right, the error lists all missing rights of the role.
 * @throws `core.rights_missing`, otherwise the errors of `check`
 */
export async function namingMissingRights<T>(sql: SqlExecutor, schema: string, check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    if (!causesOf(error).some(isDenied)) throw error
    const missing = await missingRights(sql, schema).catch(() => undefined)
    if (missing === undefined) throw error
    const { role, lacking } = missing
    throw new SqlError('core.rights_missing', { schema, role, lacking }, error)
  }
}

/**
 * For a failed migration. If the server denied it a right, the error lists the missing rights of the role for a migration.
 * @param part the parts that were to be migrated
 * @throws `core.rights_missing`, otherwise `error`
 */
export async function throwNamingRights(
  sql: SqlExecutor,
  schema: string,
  part: string,
  error: unknown,
): Promise<never> {
  if (!causesOf(error).some(isDenied)) throw error
  const missing = await rightsToMigrate(sql, schema).catch(() => [])
  const role = missing[0]?.role
  if (role === undefined) throw error
  throw new SqlError('core.rights_missing', { schema, role, lacking: missing.map(({ lacks }) => lacks), part }, error)
}

async function rightsToMigrate(
  sql: SqlExecutor,
  schema: string,
): Promise<ReadonlyArray<{ readonly role: string; readonly lacks: string }>> {
  const { rows } = await sql.query<{ role: string; lacks: string }>(
    `WITH s AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
     SELECT current_user::text AS role, 'CREATE on database ' || current_database() AS lacks
       WHERE NOT EXISTS (SELECT FROM s) AND NOT has_database_privilege(current_database(), 'CREATE')
     UNION ALL SELECT current_user::text, p.name || ' on schema ' || $1 FROM s CROSS JOIN unnest(ARRAY['USAGE', 'CREATE']) AS p(name)
       WHERE NOT has_schema_privilege(s.oid, p.name)
     UNION ALL SELECT current_user::text, 'ownership of ' || c.relname FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
       WHERE c.relname = 'concordat_migration' AND NOT pg_has_role(c.relowner, 'USAGE')`,
    [schema],
  )
  return rows
}
