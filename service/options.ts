/** Options of a service, merged with the defaults and checked. Each part checks its own options. */
import { hostname } from 'node:os'
import { needsService } from '../binder/bindings/complete-declarations.ts'
import { checkName } from '../binder/channel/channel.ts'
import { SECOND } from '../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { checkLogger, type Logger, stderrLogger, withFields } from '../core/logger.ts'
import {
  hasMethods,
  optionNames,
  refuseUnknown,
  requireFunction,
  unknownName,
  wrongKind,
} from '../core/option-checks.ts'
import { DEFAULT_SCHEMA, quoteIdentifier, requireSqlClient } from '../core/sql.ts'
import { checkTelemetry } from '../core/telemetry-interface.ts'
import type { PartOptions, PreparedOptions } from './part-options.ts'
import type { ServiceCluster, ServiceIdentity, ServiceOptions, ServiceSchedule } from './service.ts'

export interface ResolvedService extends ServiceOptions {
  readonly identity: ServiceIdentity
  readonly schema: string
  readonly migrate: 'apply' | 'check'
  readonly readiness: readonly string[]
  readonly drainTimeoutMs: number
  readonly parts: PartOptions
}

const NAMES = optionNames<ServiceOptions>({
  name: true,
  instance: true,
  transport: true,
  sql: true,
  schema: true,
  listener: true,
  bindings: true,
  sends: true,
  sagas: true,
  locks: true,
  leads: true,
  schedules: true,
  cluster: true,
  bus: true,
  migrate: true,
  readiness: true,
  parts: true,
  logger: true,
  telemetry: true,
  drainTimeoutMs: true,
})
const PARTS = optionNames<PartOptions>({
  binder: true,
  outbox: true,
  relay: true,
  inbox: true,
  coordinator: true,
  prepared: true,
  elections: true,
  schedules: true,
  membership: true,
})
const PREPARED = optionNames<PreparedOptions>({ olderThanMs: true })

const CLUSTER = optionNames<ServiceCluster>({ store: true, name: true, group: true, meta: true })
const SCHEDULE = optionNames<ServiceSchedule>({ jobs: true, lastTick: true, onError: true })

const PATH = 'createService'
const DEFAULT_READINESS: readonly string[] = Object.freeze(['binder', 'relay', 'coordinator'])

/** @throws TypeError / RangeError naming the option */
export function resolveService(options: ServiceOptions): ResolvedService {
  refuseUnknown(PATH, options, NAMES)
  refuseUnknown(`${PATH}.parts`, options.parts ?? {}, PARTS)
  refuseUnknown(`${PATH}.parts.prepared`, options.parts?.prepared ?? {}, PREPARED)
  const name = checkName(`${PATH}.name`, options.name, 100)
  const schema = options.schema ?? DEFAULT_SCHEMA
  quoteIdentifier(schema)
  if (options.sql !== undefined) requireSqlClient(`${PATH}.sql`, options.sql)
  requireWhatItNeeds(options)
  const { migrate = 'apply' } = options
  if (migrate !== 'apply' && migrate !== 'check') throw invalidOption(`${PATH}.migrate`, migrate, "'apply' or 'check'")
  return Object.freeze({
    ...options,
    schema,
    migrate,
    identity: identityOf(name, options),
    readiness: readinessOf(options),
    drainTimeoutMs: requireInteger(`${PATH}.drainTimeoutMs`, options.drainTimeoutMs ?? 10 * SECOND, 0),
    parts: options.parts ?? {},
  })
}

/** Names of `health().parts` other than those of roles. */
const PART_NAMES = ['binder', 'relay', 'coordinator', 'prepared', 'locks', 'bus', 'membership'] as const

/** A misspelt name would have no effect, and the service would be ready too early. @throws TypeError */
function readinessOf({ readiness, leads = {}, schedules = {} }: ServiceOptions): readonly string[] {
  if (readiness === undefined) return DEFAULT_READINESS
  const path = `${PATH}.readiness`
  if (!Array.isArray(readiness)) throw wrongKind(path, readiness, "a list of parts such as ['binder', 'locks']")
  const jobs = Object.keys(schedules)
  // An election also leads the role of a schedule.
  const led = [...Object.keys(leads), ...jobs]
  const known = new Set<string>([
    ...PART_NAMES,
    ...led.map((role) => `leads ${role}`),
    ...jobs.map((role) => `schedule ${role}`),
  ])
  for (const [n, name] of readiness.entries()) {
    if (typeof name !== 'string') throw wrongKind(`${path}[${n}]`, name, 'the name of a part')
    if (!known.has(name)) throw unknownName(`${path}[${n}]`, name, known)
  }
  return Object.freeze([...readiness])
}

function identityOf(name: string, options: ServiceOptions): ServiceIdentity {
  const made = `${name}-${hostname()}-${process.pid}-${newId().slice(-8)}`
  const instance = requireText(`${PATH}.instance`, options.instance ?? made)
  const logger = withIdentity(checkLogger(`${PATH}.logger`, options.logger), options.logger, name, instance)
  return Object.freeze({
    service: name,
    instance,
    logger,
    telemetry: checkTelemetry(`${PATH}.telemetry`, options.telemetry),
  })
}

/** Adds the process to each line, if the logger can have children; on stderr the service is enough. */
function withIdentity(checked: Logger, given: unknown, service: string, instance: string): Logger {
  if (checked === stderrLogger) return withFields(checked, { service })
  if (!hasMethods(given, ['child'])) return checked
  return checkLogger(`${PATH}.logger`, (given['child'] as (fields: object) => Logger)({ service, instance }))
}

/** @throws TypeError naming the missing option */
function requireWhatItNeeds({ bindings, sagas, sql, bus, parts, ...options }: ServiceOptions): void {
  if (bindings !== undefined && !Array.isArray(bindings)) throw wrongKind(`${PATH}.bindings`, bindings, 'a list')
  if (sagas !== undefined && !Array.isArray(sagas)) throw wrongKind(`${PATH}.sagas`, sagas, 'a list')
  const index = (bindings ?? []).findIndex((binding) => needsService(binding))
  const wanting =
    (sagas ?? []).length > 0 ? 'sagas' : index >= 0 ? `bindings[${index}]` : parts?.outbox && 'parts.outbox'
  if (sql === undefined && wanting !== undefined) {
    throw wrongKind(`${PATH}.sql`, sql, `a SqlClient such as pgClient(pool), which ${wanting} needs`)
  }
  requireRoles(options)
  if (options.cluster !== undefined) refuseUnknown(`${PATH}.cluster`, options.cluster, CLUSTER)
  if (bus !== undefined) requireFunction(`${PATH}.bus`, bus)
}

/** @throws TypeError for a role without locks, without work, or given twice */
function requireRoles({
  leads = {},
  schedules = {},
  locks,
}: Pick<ServiceOptions, 'leads' | 'schedules' | 'locks'>): void {
  for (const [option, roles] of Object.entries({ leads, schedules })) {
    if (Object.keys(roles).length === 0 || locks !== undefined) continue
    throw wrongKind(`${PATH}.locks`, locks, `locks such as redisLocks({ url }), which ${option} need`)
  }
  for (const [option, roles] of Object.entries({ leads, schedules })) {
    if (Object.hasOwn(roles, '__proto__'))
      throw invalidOption(`${PATH}.${option}`, '__proto__', 'a role of another name, which objects can hold')
  }
  for (const [role, work] of Object.entries(leads)) requireFunction(`${PATH}.leads.${role}`, work)
  for (const [role, schedule] of Object.entries(schedules)) {
    refuseUnknown(`${PATH}.schedules.${role}`, schedule, SCHEDULE)
    if (Object.hasOwn(leads, role)) {
      throw invalidOption(`${PATH}.schedules`, role, 'a role that is not in leads too: each is led once')
    }
  }
}
