/** Migration of the tables of every part by an operator. */
import { requireInteger, requireText } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { latestOf, migrate, migrateTogether, migrationState, type SqlPart } from '../core/migrate.ts'
import { optionNames, refuseUnknown } from '../core/option-checks.ts'
import type { SqlClient } from '../core/sql.ts'
import { OUTBOX_PART, outboxTables, prepareOutbox } from '../outbox/tables.ts'
import { type OperatorNote, requireNote } from '../saga/coordinator/operator-checks.ts'
import { PARTS, partsOf } from './migration-and-grant-sql.ts'
import { type MigrationState, migrationStates } from './migration-states.ts'
import { OPERATOR_PART, SqlOperatorTrail } from './trail.ts'

/** Parts to migrate, with the operator and the reason. */
export interface MigrationApplyOptions extends OperatorNote {
  /** Names of `migrationParts()`. @default those that have tables and `operator`, or all if none has */
  readonly parts?: readonly string[] | undefined
  /** Number of partitions of a new outbox. @default 4 */
  readonly partitions?: number | undefined
  /** Service that a new outbox belongs to. @default the first that calls `outbox.migrate()` */
  readonly service?: string | undefined
}

const APPLY_NAMES = optionNames<MigrationApplyOptions>({
  by: true,
  reason: true,
  parts: true,
  partitions: true,
  service: true,
})

/**
 * Migrates part after part. A schema without tables gets all of them in one transaction: the next run, or one beside it, would take half
 * of them for all that are wanted. Right after a part whose tables it changed it writes a line of the audit, if the table of the audit
 * exists, so that a failure later leaves the lines of what was changed before.
 * @returns the state after it
 */
export async function applyMigrations(
  sql: SqlClient,
  schema: string,
  options: MigrationApplyOptions,
  logger: Logger,
): Promise<readonly MigrationState[]> {
  refuseUnknown('migrate', options, APPLY_NAMES)
  const { by, reason } = requireNote('migrate', options)
  const partitions = requireInteger('migrate.partitions', options.partitions ?? 4, 1, 1_000)
  const service = options.service === undefined ? null : requireText('migrate.service', options.service)
  const chosen = partsOf('migrate.parts', options.parts) ?? (await present(sql, schema))
  const parts = chosen ?? PARTS
  const versions = new Map((await migrationStates(sql, schema)).map(({ part, version }) => [part, version]))
  const trail = new SqlOperatorTrail(sql, schema)
  if (chosen === undefined) await migrateTogether(sql, schema, parts)
  for (const part of auditFirst(parts)) {
    await migrate(sql, schema, part.name, part.migrations)
    const { version } = await migrationState(sql, schema, part.name)
    const isChanged = version !== versions.get(part.name)
    versions.set(part.name, version)
    const isAudited = (versions.get(OPERATOR_PART.name) ?? 0) > 0
    // Before the outbox is prepared, which may fail: its tables are already changed.
    if (isChanged && isAudited)
      await trail.line(
        { part: 'tables', action: 'migrate', target: part.name, note: { by, reason } },
        `version ${version}`,
      )
    if (part === OUTBOX_PART) await prepareOutbox(sql, outboxTables(schema), partitions, service)
    logger.info({ part: part.name, version: latestOf(part.migrations), by, reason }, 'tables migrated')
  }
  return migrationStates(sql, schema)
}

/** Puts the table of the audit before the parts that need lines in it. */
function auditFirst(parts: readonly SqlPart[]): readonly SqlPart[] {
  return parts.includes(OPERATOR_PART) ? [OPERATOR_PART, ...parts.filter((part) => part !== OPERATOR_PART)] : parts
}

/** Parts of a schema with tables, and the audit; `undefined` without any. */
async function present(sql: SqlClient, schema: string): Promise<typeof PARTS | undefined> {
  const states = await migrationStates(sql, schema)
  const there = PARTS.filter(({ name }) => states.some(({ part, state }) => part === name && state !== 'absent'))
  return there.length === 0 ? undefined : [...new Set([...there, OPERATOR_PART])]
}
