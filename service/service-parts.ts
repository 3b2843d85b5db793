/** Makes the parts of a service, each with the service's identity. Connects nothing. */
import { type Binder, createBinder } from '../binder/binder.ts'
import type { Binding } from '../binder/binding.ts'
import { completeBinding } from '../binder/of-service.ts'
import type { Place } from '../binder/sending/destinations.ts'
import type { Bus } from '../bus/bus.ts'
import type { SqlClient } from '../core/sql.ts'
import { createElection } from '../election/campaign.ts'
import type { Election } from '../election/election.ts'
import type { Locks } from '../locks/lock.ts'
import { createInbox, type SqlInbox } from '../outbox/inbox.ts'
import { createOutbox, type Outbox } from '../outbox/outbox.ts'
import { createRelay, type Relay } from '../outbox/relay.ts'
import { type Coordinator, createCoordinator } from '../saga/coordinator.ts'
import { replyPlace } from '../saga/wire.ts'
import type { ResolvedService } from './options.ts'

/** What needs a database. */
export interface StoredParts {
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly inbox: SqlInbox
  readonly relay: Relay
  readonly coordinator: Coordinator | undefined
}

export interface Parts {
  readonly binder: Binder
  readonly stored: StoredParts | undefined
  readonly locks: Locks | undefined
  readonly bus: Bus | undefined
  readonly elections: Readonly<Record<string, Election>>
}

/** @throws TypeError / RangeError naming the part and its option */
export function makeParts(options: ResolvedService): Parts {
  const { identity } = options
  const bus = options.bus?.(identity)
  const base = options.sql === undefined ? undefined : makeStored(options, options.sql)
  const bindings = [
    ...(options.bindings ?? []).map((binding) => (base === undefined ? binding : complete(binding, options, base))),
    ...(base?.coordinator?.bindings ?? []),
    ...(bus?.bindings ?? []),
  ]
  const sends = [...(options.sends ?? []), ...(base?.coordinator?.channels ?? []), ...(bus?.channels ?? [])]
  const binder = makeBinder(options, bindings, sends)
  const locks = typeof options.locks === 'function' ? options.locks(identity) : options.locks
  return {
    binder,
    stored: base && { ...base, relay: makeRelay(options, base.outbox, binder) },
    locks,
    bus,
    elections: makeElections(options, locks),
  }
}

function makeStored(options: ResolvedService, sql: SqlClient): Omit<StoredParts, 'relay'> {
  const { identity, schema, parts, sagas = [], drainTimeoutMs } = options
  const { service, instance, logger, telemetry } = identity
  const outbox = createOutbox({ ...parts.outbox, sql, schema, service, telemetry })
  const inbox = createInbox({ ...parts.inbox, sql, schema, outbox, logger })
  const common = { service, instance, logger, telemetry, sql, schema, outbox }
  const coordinator =
    sagas.length === 0 ? undefined : createCoordinator({ drainTimeoutMs, ...parts.coordinator, ...common, sagas })
  return { sql, outbox, inbox, coordinator }
}

function complete(binding: Binding, options: ResolvedService, stored: Omit<StoredParts, 'relay'>): Binding {
  const { sql, inbox, outbox } = stored
  return completeBinding(binding, { sql, inbox, outbox, schema: options.schema, telemetry: options.identity.telemetry })
}

function makeBinder(options: ResolvedService, bindings: readonly Binding[], sends: readonly Place[]): Binder {
  const { identity, transport, parts, drainTimeoutMs } = options
  // A participant answers whoever asked: the reply channels of services that are not known here.
  return createBinder({
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
  return createRelay({ drainTimeoutMs, ...parts.relay, outbox, publisher, listener, instance, logger, telemetry })
}

function makeElections(options: ResolvedService, locks: Locks | undefined): Readonly<Record<string, Election>> {
  if (locks === undefined) return {}
  const { instance, logger, telemetry } = options.identity
  const roles = Object.entries(options.leads ?? {}).map(([role, onGranted]) => {
    const stopGraceMs = options.drainTimeoutMs
    const own = { stopGraceMs, ...options.parts.elections, locks, role, instance, logger, telemetry, onGranted }
    return [role, createElection(own)] as const
  })
  return Object.freeze(Object.fromEntries(roles))
}
