/** Steps of a service's start, between which it can be closed. */
import { needsService } from '../binder/bindings/complete-declarations.ts'
import { migrate, REQUIRE_TABLES, requireMigrated, type SqlPart } from '../core/migrate.ts'
import { hasMethods } from '../core/option-checks.ts'
import { migrateParticipant, PARTICIPANT_PART, SAGA_PART } from '../saga/store/tables.ts'
import type { ResolvedService } from './options.ts'
import type { Parts, StoredParts } from './service-parts.ts'

type Step = () => unknown

/**
 * Tables first, then the parts. Handlers and steps may use the bus and read its configs, one of which may pause a binding: the bus
 * starts before them. Starting intake before the parts it feeds loses nothing, because early messages wait in tables and on the
 * broker.
 */
export function startSteps(options: ResolvedService, parts: Parts): readonly Step[] {
  const { stored, elections, schedules, membership } = parts
  return [
    ...tableSteps(options, parts),
    ...bindingSteps(parts),
    () => stored?.relay.start(),
    // A transport that is not durable has lost unanswered commands in a kill.
    () => stored?.coordinator?.run({ resend: options.transport.features.durable !== true }),
    () => stored?.inbox.start(),
    () => stored?.prepared?.start(),
    () => {
      // Joins as soon as its store answers, so an unavailable store delays nothing.
      membership?.join().catch(() => undefined)
      for (const schedule of Object.values(schedules)) schedule.start()
      for (const election of Object.values(elections)) election.start()
    },
  ]
}

function bindingSteps({ binder, bus, intake }: Parts): readonly Step[] {
  if (bus === undefined) return [() => binder.start()]
  const own = new Set(intake)
  let startIntake = async (): Promise<void> => {}
  return [
    async () => (startIntake = await binder.startFirst({ has: (name) => !own.has(name) })),
    () => bus.start(binder),
    () => startIntake(),
  ]
}

function tableSteps(options: ResolvedService, { stored, locks }: Parts): readonly Step[] {
  const { transport, cluster, migrate: mode } = options
  const prepare = mode === 'check' ? checkTables : makeTables
  const own = [transport, locks, cluster?.store].map((part) => () => prepare(part))
  if (stored === undefined) return own
  return [...own, ...(mode === 'check' ? checks(options, stored) : migrations(options, stored))]
}

/** Creates the tables of a transport, locks or a store in a database. */
async function makeTables(part: unknown): Promise<void> {
  if (hasMethods(part, ['migrate'])) await (part as unknown as { migrate(): Promise<void> }).migrate()
}

/** @throws `core.tables_missing`, `core.sql_version`, `core.rights_missing` */
async function checkTables(part: unknown): Promise<void> {
  if (typeof part !== 'object' || part === null || !(REQUIRE_TABLES in part)) return
  await (part as { [REQUIRE_TABLES](): Promise<void> })[REQUIRE_TABLES]()
}

function migrations(options: ResolvedService, stored: StoredParts): readonly Step[] {
  const { sql, outbox, inbox, coordinator } = stored
  const { schema } = options
  return [
    () => outbox.migrate(),
    () => inbox.migrate(),
    () => coordinator?.migrate(),
    ...(hasParticipants(options) ? [() => migrateParticipant(sql, schema)] : []),
    ...[...tablesOf(options)].map(
      ({ name, migrations: each }) =>
        () =>
          migrate(sql, schema, name, each),
    ),
  ]
}

function checks(options: ResolvedService, stored: StoredParts): readonly Step[] {
  const { sql, outbox, inbox, coordinator } = stored
  const { schema } = options
  const own = [
    ...(coordinator === undefined ? [] : [SAGA_PART]),
    ...(hasParticipants(options) ? [PARTICIPANT_PART] : []),
    ...tablesOf(options),
  ]
  return [
    () => outbox.ready(),
    async () => inbox.ready?.(),
    ...own.map((part) => () => requireMigrated(sql, schema, part)),
  ]
}

/** Returns the tables that the bindings need. */
function tablesOf({ bindings = [] }: ResolvedService): ReadonlySet<SqlPart> {
  return new Set(bindings.flatMap((binding) => ('tables' in binding && binding.tables) || []))
}

function hasParticipants({ bindings = [] }: ResolvedService): boolean {
  return bindings.some((binding) => binding.kind === 'sink' && needsService(binding) && 'complete' in binding)
}
