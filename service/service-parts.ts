/** Creates the parts of a service, each with the service's identity. Connects nothing. */

import { TransportBinder } from '../binder/assembly/create-binder.ts'
import type { Binder } from '../binder/binder.ts'
import { completeBinding } from '../binder/bindings/complete-declarations.ts'
import type { Binding } from '../binder/bindings/declarations.ts'
import { nameOfBinding } from '../binder/bindings/resolve-options.ts'
import type { SendDestination } from '../binder/sending/destination-provisioning.ts'
import type { Bus } from '../bus/bus.ts'
import { SECOND, systemClock } from '../core/clock.ts'
import { requireInteger } from '../core/errors.ts'
import type { SqlClient } from '../core/sql.ts'
import { createMembership } from '../election/cluster/membership/create-membership.ts'
import type { Membership } from '../election/cluster/membership/membership.ts'
import { createElection } from '../election/leader/campaign.ts'
import type { Election } from '../election/leader/election.ts'
import { createSchedule } from '../election/schedule/job-schedule.ts'
import type { Schedule } from '../election/schedule/schedule-types.ts'
import type { Locks } from '../locks/lock.ts'
import { createInbox, type SqlInbox } from '../outbox/inbox.ts'
import { createOutbox, type Outbox } from '../outbox/outbox.ts'
import { createRelay, type Relay } from '../outbox/relay.ts'
import { type Coordinator, createCoordinator } from '../saga/coordinator/coordinator.ts'
import { directTargets, withSubSagas } from '../saga/definition/saga-destinations.ts'
import { replyPlace } from '../saga/wire/wire.ts'
import { PREPARED_LIMIT_MS, PreparedWatch, sourceOf } from '../saga/xa/old-prepared-watch.ts'
import type { ResolvedService } from './options.ts'
import { atServicePath } from './part-options.ts'

/** Parts that need a database. */
export interface StoredParts {
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly inbox: SqlInbox
  readonly relay: Relay
  readonly coordinator: Coordinator | undefined
  /** Only with an XA participant. */
  readonly prepared: PreparedWatch | undefined
}

/** Parts that the binder is created with. */
type StoredBase = Omit<StoredParts, 'relay' | 'prepared'>

export interface Parts {
  readonly binder: TransportBinder
  /** Names of the service's own bindings; those of coordinator, bus and replies serve running work. */
  readonly intake: readonly string[]
  readonly stored: StoredParts | undefined
  readonly locks: Locks | undefined
  readonly bus: Bus | undefined
  readonly elections: Readonly<Record<string, Election>>
  readonly schedules: Readonly<Record<string, Schedule>>
  readonly membership: Membership | undefined
}

/** @throws TypeError / RangeError naming the option */
export function makeParts(options: ResolvedService): Parts {
  try {
    return makeAll(options)
  } catch (error) {
    throw atServicePath(error, options.parts)
  }
}

function makeAll(options: ResolvedService): Parts {
  const { identity } = options
  const bus = options.bus?.(identity)
  const base = options.sql === undefined ? undefined : makeStored(options, options.sql)
  const own = (options.bindings ?? []).map((each) => (base === undefined ? each : complete(each, options, base)))
  const bindings = [...own, ...(base?.coordinator?.bindings ?? []), ...(bus?.bindings ?? [])]
  const sends = [...(options.sends ?? []), ...(base?.coordinator?.channels ?? []), ...(bus?.channels ?? [])]
  const binder = makeBinder(options, bindings, sends)
  const locks = typeof options.locks === 'function' ? options.locks(identity) : options.locks
  return {
    binder,
    intake: own.map(nameOfBinding),
    stored: base && {
      ...base,
      relay: makeRelay(options, base.outbox, binder),
      prepared: watchPrepared(options, bindings),
    },
    locks,
    bus,
    ...makeRoles(options, locks),
    membership: makeMembership(options),
  }
}

function makeStored(options: ResolvedService, sql: SqlClient): StoredBase {
  const { identity, schema, parts, sagas = [], drainTimeoutMs } = options
  const { service, instance, logger, telemetry } = identity
  // Each listening instance is notified of messages that others add.
  const defaults = options.listener === undefined ? {} : { notifyEveryMs: NOTIFY_EVERY_MS }
  const { transport } = options
  const outbox = createOutbox({ ...defaults, ...parts.outbox, sql, schema, service, telemetry, transport })
  const inbox = createInbox({ ...parts.inbox, sql, schema, outbox, logger })
  const common = { service, instance, logger, telemetry, sql, schema, outbox }
  const coordinator =
    sagas.length === 0 ? undefined : createCoordinator({ drainTimeoutMs, ...parts.coordinator, ...common, sagas })
  return { sql, outbox, inbox, coordinator }
}

/** Watches the participants that have a binding here, and those that sagas call in this process. */
function watchPrepared(options: ResolvedService, bindings: readonly Binding[]): PreparedWatch | undefined {
  const { sagas = [], parts, identity } = options
  const ofBindings = bindings.map((binding) => ('prepares' in binding ? binding.prepares : undefined))
  const ofTargets = directTargets(withSubSagas(sagas)).map(({ asking }) => asking.prepares)
  const places = new Set([...ofBindings, ...ofTargets].filter((where) => where !== undefined))
  if (places.size === 0) return undefined
  const given = parts.prepared?.olderThanMs ?? PREPARED_LIMIT_MS
  const olderThanMs = requireInteger('createService.parts.prepared.olderThanMs', given, 1, MAX_LIMIT_MS)
  return new PreparedWatch({
    sources: [...places].map(sourceOf),
    clock: systemClock,
    logger: identity.logger,
    olderThanMs,
  })
}

const MAX_LIMIT_MS = 2 ** 31 - 1

function complete(binding: Binding, options: ResolvedService, stored: StoredBase): Binding {
  const { sql, inbox, outbox } = stored
  return completeBinding(binding, { sql, inbox, outbox, schema: options.schema, telemetry: options.identity.telemetry })
}

function makeBinder(
  options: ResolvedService,
  bindings: readonly Binding[],
  sends: readonly SendDestination[],
): TransportBinder {
  const { identity, transport, parts, drainTimeoutMs } = options
  // A participant replies to any requester, including reply channels of services that are unknown here.
  return new TransportBinder({
    drainTimeoutMs,
    ...parts.binder,
    ...identity,
    transport,
    bindings,
    sends,
    unlisted: replyPlace,
  })
}

function makeRelay(options: ResolvedService, outbox: Outbox, publisher: Binder): Relay {
  const { identity, parts, listener, drainTimeoutMs } = options
  const { instance, logger, telemetry } = identity
  // Added messages go straight to the log then: the relay only sends those that another transport left before.
  const isIdle = options.transport.isOn?.(outbox.sql) === true
  const defaults = isIdle ? { drainTimeoutMs, idlePollMs: IDLE_POLL_MS } : { drainTimeoutMs }
  return createRelay({ ...defaults, ...parts.relay, outbox, publisher, listener, instance, logger, telemetry })
}

const IDLE_POLL_MS = 5 * SECOND
const NOTIFY_EVERY_MS = 10

interface Roles {
  readonly elections: Readonly<Record<string, Election>>
  readonly schedules: Readonly<Record<string, Schedule>>
}

function makeRoles(options: ResolvedService, locks: Locks | undefined): Roles {
  const elections: Record<string, Election> = {}
  const schedules: Record<string, Schedule> = {}
  if (locks === undefined) return { elections, schedules }
  const { identity, parts, drainTimeoutMs } = options
  const { service, instance, logger, telemetry } = identity
  // A separate prefix, because another service on the same store may have a role of the same name.
  const scoped = (role: string): string => `${service}/${role}`
  const common = { stopGraceMs: drainTimeoutMs, ...parts.elections, locks, instance, logger, telemetry }
  for (const [role, onGranted] of Object.entries(options.leads ?? {})) {
    elections[role] = createElection({ ...common, role: scoped(role), onGranted })
  }
  for (const [role, schedule] of Object.entries(options.schedules ?? {})) {
    const election = createElection({ ...common, role: scoped(role) })
    elections[role] = election
    schedules[role] = createSchedule({
      stopGraceMs: drainTimeoutMs,
      ...parts.schedules,
      ...schedule,
      election,
      logger,
    })
  }
  return { elections: Object.freeze(elections), schedules: Object.freeze(schedules) }
}

function makeMembership({ cluster, identity, parts }: ResolvedService): Membership | undefined {
  if (cluster === undefined) return undefined
  const { name = identity.service, ...rest } = cluster
  return createMembership({ ...parts.membership, ...identity, ...rest, cluster: name })
}
