/**
 * Versioned tables. Each part (`outbox`, `inbox`, `saga`, ...) has a list of migrations; the table `concordat_migration` of a
 * schema lists the applied ones.
 *
 * Rolling upgrade: apply the new release's migrations first, then replace the processes one by one. `worksWith` marks a migration
 * that the previous release can work with; after any other migration, the old release refuses to start.
 */

import { SECOND } from './clock.ts'
import { requireInteger } from './errors.ts'
import { limitedTransaction } from './idle-limited-transaction.ts'
import { holdersOf, LOCK_WAIT, untilFree } from './retry-table-lock.ts'
import { quoteIdentifier, requireSqlClient, type SqlClient, type SqlExecutor } from './sql.ts'
import { SqlError } from './sql-error.ts'
import { READ_ONLY, sqlStateOf } from './sql-unavailable.ts'
import { namingMissingRights, throwNamingRights } from './table-rights.ts'

/** A migration that brings one part's tables from version `version - 1` to `version`. */
export interface SqlMigration {
  readonly version: number
  /** SQL statements, each without its final semicolon, with `{schema}` in place of the quoted schema name. */
  readonly statements: readonly string[]
  /** The oldest version whose release works on the tables after this migration. @default version: no older one does */
  readonly worksWith?: number | undefined
}

/** The tables that one part of the package owns in a schema. */
export interface SqlPart {
  /** Name in `concordat_migration`. */
  readonly name: string
  /** Ascending versions, without gaps. */
  readonly migrations: readonly SqlMigration[]
  /** The call that applies them: `outbox.migrate()`. */
  readonly call: string
}

/** Options of `migrate`. */
export interface MigrateOptions {
  /**
   * How long one attempt waits for a table that others have locked, in ms. Other users of the table queue behind it, so it is
   * short. @default 2 seconds
   */
  readonly lockTimeoutMs?: number | undefined
  /** Total time of all attempts, in ms. @default 30 seconds */
  readonly waitMs?: number | undefined
}

const MAX_MS = 2 ** 31 - 1
/**
 * A migration sends its statements without a pause, so one that is idle for longer belongs to a frozen or disconnected process.
 */
const IDLE_MS = 20 * SECOND
/** A table of the schema, or the lock of the processes that migrate it. */
const HELD = `n.nspname = $1::text OR k.locktype = 'advisory' AND k.objsubid = 1
  AND k.classid::bigint << 32 | k.objid::bigint = hashtextextended('concordat:' || $1::text, 0)`

function versionMismatch(schema: string, { name, migrations, call }: SqlPart, found: number): SqlError {
  return new SqlError('core.sql_version', { schema, part: name, found, known: latestOf(migrations), call })
}

/**
 * Applies the missing `migrations` for `part` (e.g. `outbox`) in `schema`, in one transaction under an advisory transaction lock:
 * idempotent, and safe if several processes start at once. It checks first: if nothing is missing, it only reads and needs no
 * right to create anything. It waits in short steps for tables that others have locked and for other migrating processes. The
 * server ends the transaction of a migrating process that is frozen for 20 s.
 * @throws `core.sql_version` if a later release has migrated the tables and this one cannot work with them;
 * `core.migration_blocked` if others locked a table, or migrated, for `waitMs`; `core.read_only` if something is missing on a
 * server that accepts no writes; `core.rights_missing` if something is missing and the role may not create it
 */
export async function migrate(
  sql: SqlClient,
  schema: string,
  part: string,
  migrations: readonly SqlMigration[],
  options: MigrateOptions = {},
): Promise<void> {
  await migrateTogether(sql, schema, [{ name: part, migrations, call: 'migrate' }], options)
}

/** Does the same for several parts in one transaction: either all of them exist afterwards, or none was changed. */
export async function migrateTogether(
  sql: SqlClient,
  schema: string,
  parts: readonly SqlPart[],
  options: MigrateOptions = {},
): Promise<void> {
  requireSqlClient('migrate.sql', sql)
  const lockTimeoutMs = requireInteger(
    'migrate.lockTimeoutMs',
    options.lockTimeoutMs ?? LOCK_WAIT.lockTimeoutMs,
    1,
    MAX_MS,
  )
  const waitMs = requireInteger('migrate.waitMs', options.waitMs ?? LOCK_WAIT.waitMs, 0, MAX_MS)
  const missing: SqlPart[] = []
  for (const part of parts) {
    if (!isDone(await migrationState(sql, schema, part.name), schema, part)) missing.push(part)
  }
  if (missing.length === 0) return
  const part = missing.map(({ name }) => name).join(', ')
  await untilFree(
    { lockTimeoutMs, waitMs },
    () => apply(sql, schema, missing, lockTimeoutMs).catch((error: unknown) => throwNaming(sql, error, schema, part)),
    async (cause) =>
      new SqlError('core.migration_blocked', { schema, part, holders: await holdersOf(sql, HELD, schema) }, cause),
  )
}

async function throwNaming(sql: SqlClient, error: unknown, schema: string, part: string): Promise<never> {
  if (sqlStateOf(error) === READ_ONLY) throw new SqlError('core.read_only', { schema, part }, error)
  return throwNamingRights(sql, schema, part, error)
}

/** Makes one attempt, in one transaction. */
async function apply(sql: SqlClient, schema: string, parts: readonly SqlPart[], lockTimeoutMs: number): Promise<void> {
  await limitedTransaction(sql, IDLE_MS, async (tx) => {
    await tx.query(`SELECT set_config('lock_timeout', $1, true)`, [`${lockTimeoutMs}ms`])
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`concordat:${schema}`])
    for (const part of parts) await applyMissing(tx, schema, part)
  })
}

async function applyMissing(tx: SqlExecutor, schema: string, owned: SqlPart): Promise<void> {
  const { name: part, migrations } = owned
  const state = await migrationState(tx, schema, part)
  if (isDone(state, schema, owned)) return
  for (const statement of bookkeeping(schema, state)) await tx.query(statement)
  for (const migration of migrations) {
    if (migration.version <= state.version) continue
    for (const statement of migrationStatements(schema, part, migration)) await tx.query(statement)
  }
}

/**
 * Checks that `part`'s tables exist in a version that this release works with. Reads only.
 * @throws `core.tables_missing` if there are none; `core.sql_version` if they are older, or newer and incompatible;
 * `core.rights_missing`
 */
export async function requireMigrated(sql: SqlExecutor, schema: string, part: SqlPart): Promise<void> {
  const state = await migrationState(sql, schema, part.name)
  if (state.version === 0) {
    // Without a part, the command creates all parts in an empty schema; in any other schema it only upgrades existing ones.
    throw new SqlError('core.tables_missing', { schema, call: part.call, part: state.tableExists ? part.name : 'all' })
  }
  if (!isDone(state, schema, part)) throw versionMismatch(schema, part, state.version)
}

/**
 * Method of a part with its own tables, such as locks or a transport: `migrate: 'check'` of a service calls it. It throws the
 * errors of `requireMigrated`.
 */
export const REQUIRE_TABLES: unique symbol = Symbol.for('concordat.requireTables')

/**
 * The SQL that `migrate` runs, as text for a migration tool or a review: statements end with `;` and a newline.
 * @param above only migrations with a higher version; 0 for all, including the schema and the table of versions
 */
export function migrationText(schema: string, part: SqlPart, above = 0): string {
  const first = above === 0 ? bookkeeping(schema, NOTHING) : []
  const versions = part.migrations
    .filter(({ version }) => version > above)
    .flatMap((migration) => [
      `-- ${part.name}, version ${migration.version}`,
      ...migrationStatements(schema, part.name, migration).map((statement) => `${statement};`),
    ])
  return [...first.map((statement) => `${statement};`), ...versions, ''].join('\n')
}

export function latestOf(migrations: readonly SqlMigration[]): number {
  return migrations.at(-1)?.version ?? 0
}

/** State of a part's tables in a schema. */
export interface PartState {
  readonly schemaExists: boolean
  readonly tableExists: boolean
  /** The highest version applied; 0 for none. */
  readonly version: number
  /** The lowest version that a release must know to work on these tables. */
  readonly needs: number
}

const NOTHING: PartState = { schemaExists: false, tableExists: false, version: 0, needs: 0 }

/**
 * Reads the applied migrations of a part. Asks the catalog, which everybody may read, before it reads the table: a schema without
 * USAGE is no error if it has no such table.
 * @throws `core.rights_missing`
 */
export async function migrationState(sql: SqlExecutor, schema: string, part: string): Promise<PartState> {
  const { rows } = await sql.query<{ schema: boolean; table: boolean }>(
    `SELECT n.oid IS NOT NULL AS schema, c.oid IS NOT NULL AS "table"
     FROM (SELECT 1) AS one
     LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
     LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'concordat_migration'`,
    [schema],
  )
  const exists = rows[0]
  if (exists?.table !== true) return { ...NOTHING, schemaExists: exists?.schema === true }
  const applied = await namingMissingRights(sql, schema, () =>
    sql.query<{ version: number; needs: number }>(
      `SELECT coalesce(max(version), 0)::int AS version, coalesce(max(works_with), 0)::int AS needs
       FROM ${quoteIdentifier(schema)}.concordat_migration WHERE part = $1`,
      [part],
    ),
  )
  const { version = 0, needs = 0 } = applied.rows[0] ?? {}
  return { schemaExists: true, tableExists: true, version, needs }
}

/** @throws `core.sql_version` if the tables are newer than this release works with */
function isDone(state: PartState, schema: string, part: SqlPart): boolean {
  const known = latestOf(part.migrations)
  if (state.needs > known) throw versionMismatch(schema, part, state.version)
  return state.version >= known
}

function bookkeeping(schema: string, state: PartState): readonly string[] {
  const quoted = quoteIdentifier(schema)
  const statements: string[] = []
  if (!state.schemaExists) statements.push(`CREATE SCHEMA IF NOT EXISTS ${quoted}`)
  if (!state.tableExists) {
    statements.push(
      `CREATE TABLE IF NOT EXISTS ${quoted}.concordat_migration (
         part text NOT NULL, version int NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), works_with int NOT NULL,
         PRIMARY KEY (part, version))`,
    )
  }
  return statements
}

function migrationStatements(schema: string, part: string, migration: SqlMigration): readonly string[] {
  const quoted = quoteIdentifier(schema)
  const { version, worksWith } = migration
  return [
    // A function: in a replacement text, `$$` and `$&` would be patterns, and both are legal in a schema's name.
    ...migration.statements.map((statement) => statement.replaceAll('{schema}', () => quoted)),
    `INSERT INTO ${quoted}.concordat_migration (part, version, works_with) VALUES ('${part.replaceAll("'", "''")}', ${version}, ${worksWith ?? version})`,
  ]
}
