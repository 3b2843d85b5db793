/** The tables of every part as SQL text, for administrators who apply it themselves, and the rights that a service then needs. */

import { PIPELINE_PART } from '../binder/pipeline/window-table.ts'
import { TRANSPORT_PART } from '../binder/postgres/tables.ts'
import { invalidOption, requireInteger, requireText } from '../core/errors.ts'
import { latestOf, migrationText, type SqlPart } from '../core/migrate.ts'
import { optionNames, refuseUnknown, wrongKind } from '../core/option-checks.ts'
import { DEFAULT_SCHEMA, quoteIdentifier } from '../core/sql.ts'
import { CLUSTER_PART } from '../election/cluster/postgres/tables.ts'
import { FENCE_PART } from '../locks/fence.ts'
import { TOKEN_PART } from '../locks/one-time-tokens/postgres/tables.ts'
import { LOCK_STORE_PART } from '../locks/postgres/tables.ts'
import { INBOX_PART } from '../outbox/inbox-table.ts'
import { OUTBOX_PART, prepareText } from '../outbox/tables.ts'
import { SHARD_PART } from '../saga/sharding/shard-table.ts'
import { PARTICIPANT_PART, SAGA_PART } from '../saga/store/tables.ts'
import { OPERATOR_PART } from './trail.ts'

export const PARTS: readonly SqlPart[] = [
  OUTBOX_PART,
  INBOX_PART,
  SAGA_PART,
  SHARD_PART,
  PARTICIPANT_PART,
  PIPELINE_PART,
  FENCE_PART,
  LOCK_STORE_PART,
  TOKEN_PART,
  CLUSTER_PART,
  TRANSPORT_PART,
  OPERATOR_PART,
]

/** Options of `printMigrations`. */
export interface MigrationPrintOptions {
  /** Schema of the tables. @default 'concordat' */
  readonly schema?: string | undefined
  /** Names of `migrationParts()`. @default all */
  readonly parts?: readonly string[] | undefined
  /** Existing versions to leave out: `{ outbox: 1 }` prints the outbox from version 2 on. @default {} */
  readonly above?: Readonly<Record<string, number>> | undefined
  /** Partitions of the outbox, as in `createOutbox`. Fixed with the first migration. @default 4 */
  readonly partitions?: number | undefined
  /** Service that the outbox belongs to, as in `createOutbox`. @default the first that calls `outbox.migrate()` */
  readonly service?: string | undefined
}

/** Options of `printGrants`. */
export interface GrantPrintOptions {
  /** Schema of the tables. @default 'concordat' */
  readonly schema?: string | undefined
  /** Role with which the service connects. */
  readonly role: string
}

const PRINT_NAMES = optionNames<MigrationPrintOptions>({
  schema: true,
  parts: true,
  above: true,
  partitions: true,
  service: true,
})
const GRANT_NAMES = optionNames<GrantPrintOptions>({ schema: true, role: true })

/**
 * Lists every part with tables: the latest version that this release knows, the call that creates or upgrades the tables, and the
 * name of one of them.
 */
export function migrationParts(): ReadonlyArray<{
  readonly part: string
  readonly version: number
  readonly call: string
  readonly table: string
}> {
  return PARTS.map(({ name, migrations, call }) => {
    const [, table = ''] = FIRST_TABLE.exec(migrations[0]?.statements.join('\n') ?? '') ?? []
    return { part: name, version: latestOf(migrations), call, table }
  })
}

const FIRST_TABLE = /CREATE TABLE \{schema\}\.(\w+)/

/**
 * Returns the SQL that the parts' `migrate()` would run on an empty database, or above the given versions: for dbmate, Flyway,
 * Prisma Migrate, or a review. It records the versions like `migrate()`, so both can be mixed.
 * @throws TypeError / RangeError naming the option
 */
export function printMigrations(options: MigrationPrintOptions = {}): string {
  refuseUnknown('printMigrations', options, PRINT_NAMES)
  const { schema = DEFAULT_SCHEMA, above = {} } = options
  const partitions = requireInteger('printMigrations.partitions', options.partitions ?? 4, 1, 1_000)
  const service = options.service === undefined ? null : requireText('printMigrations.service', options.service)
  for (const name of Object.keys(above)) partOf('printMigrations.above', name)
  const parts = partsOf('printMigrations.parts', options.parts) ?? PARTS
  return parts
    .map((part) => {
      const from = requireInteger(`printMigrations.above.${part.name}`, above[part.name] ?? 0, 0)
      const first = part === OUTBOX_PART && from === 0 ? prepareText(schema, partitions, service) : ''
      return `${migrationText(schema, part, from)}${first}`
    })
    .filter((text) => text !== '')
    .join('\n')
}

/**
 * Returns SQL that grants the rights of a service that does not migrate: rows, sequences and functions of the schema, without
 * creating objects. Run it as the owner of the tables, and again after a migration that adds tables.
 * @throws TypeError naming the option
 */
export function printGrants(options: GrantPrintOptions): string {
  refuseUnknown('printGrants', options, GRANT_NAMES)
  const role = quoteIdentifier(requireText('printGrants.role', options.role))
  const schema = quoteIdentifier(options.schema ?? DEFAULT_SCHEMA)
  return [
    `GRANT USAGE ON SCHEMA ${schema} TO ${role};`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role};`,
    `REVOKE INSERT, UPDATE, DELETE ON ${schema}.concordat_migration FROM ${role};`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role};`,
    `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${schema} TO ${role};`,
    '',
  ].join('\n')
}

/** @throws TypeError naming the path */
export function partsOf(path: string, names: readonly string[] | undefined): readonly SqlPart[] | undefined {
  if (names === undefined || Array.isArray(names)) return names?.map((name) => partOf(path, name))
  throw wrongKind(path, names, "a list such as ['outbox', 'inbox']")
}

function partOf(path: string, name: string): SqlPart {
  const part = PARTS.find((each) => each.name === name)
  if (part === undefined) throw invalidOption(path, name, `one of ${PARTS.map((each) => each.name).join(', ')}`)
  return part
}
