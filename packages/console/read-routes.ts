/** Read routes over the operator, one per view. Every list is a page. */

import { type DeadLetterPlace, type Operator } from '@concordat/cli'
import { type Clock, SECOND } from 'concordat/core'
import { within } from 'concordat/extension'
import type { SystemTopology } from 'concordat/operator'
import type { Access, ConsoleAction } from './access.ts'
import { type DeadLetterReadQueue, LOOKS } from './dead-letter-read-queue.ts'
import type { BindingStatus, FailingLine, ParkedLine, UndoDifference, UndoTarget } from './engine-types.ts'
import type { Fields } from './input.ts'
import type { ConsoleInstances } from './instances.ts'
import { Problem } from './problem.ts'
import { doctorView, lineView, sagaView } from './redacted-views.ts'
import type { Redact } from './redaction.ts'
import { HIDDEN } from './redaction.ts'
import type { RunningRedrives } from './running-redrives.ts'

/** Dependencies of the routes. */
export interface Backend {
  readonly operator: Operator
  readonly access: Access
  readonly clock: Clock
  readonly redact: Redact | undefined
  readonly topology: SystemTopology | null
  /** Declared, or set by options; those of the log in the database are found by themselves. */
  readonly places: readonly DeadLetterPlace[]
  readonly clusters: readonly string[]
  /** Turns of dead letters: one reading or redrive at a time per group. */
  readonly turns: DeadLetterReadQueue
  /** Redrives of this console. */
  readonly underWay: RunningRedrives
  /** Instances of all processes on the bus. */
  readonly instances: ConsoleInstances
  /** Bindings of this process. */
  readonly bindings: (() => readonly BindingStatus[]) | undefined
}

/** The signed-in user. */
export interface Me {
  readonly user: string
  readonly allow: readonly ConsoleAction[]
  readonly readOnly: boolean
  readonly csrf: string
  readonly title: string
}

export interface Asked {
  readonly backend: Backend
  readonly request: Request
  readonly query: Fields
}

export type Read = (asked: Asked) => Promise<unknown>

const LOOK_MS = 15 * SECOND
/** Maximum waiting time for a turn. */
const LOOK_WAIT_MS = 60 * SECOND
const MAX_PAGE = 200
const MAX_PARKED = 1_000
const STATUSES = ['running', 'compensating', 'completed', 'compensated', 'stuck'] as const

export const READS: Readonly<Record<string, Read>> = {
  sagas: readSagas,
  saga: async ({ backend, request, query }) => {
    const target = { saga: query.text('saga'), id: query.text('id') }
    const words = await backend.access.may(request, 'payloads', `${target.saga}/${target.id}`)
    return sagaView(await backend.operator.sagas.show(target), words)
  },
  places: async ({ backend }) => placesOf(backend),
  outbox: readOutbox,
  inboxes: async ({ backend }) => backend.operator.inboxes(),
  locks: async ({ backend, query }) =>
    backend.operator.locks.list({ limit: query.count('limit', MAX_PAGE, 100), prefix: query.optionalText('prefix') }),
  leaders: async ({ backend }) => backend.operator.leaders.list(),
  members: async ({ backend, query }) => {
    const asked = query.optionalText('cluster')
    return clusterMembers(backend, asked === undefined ? backend.clusters : [asked])
  },
  bindings: readBindings,
  instances: async ({ backend }) => backend.instances.view(),
  instance: async ({ backend, query }) => backend.instances.bindingsOf(query.text('address')),
  undo: async ({ backend }) => backend.operator.undo.open(),
  differences: readDifferences,
  prepared: async ({ backend }) => backend.operator.prepared(),
  topology: async ({ backend }) => backend.topology,
  audit: async ({ backend, query }) =>
    backend.operator.audit({
      before: query.has('before') ? Number(query.text('before')) : undefined,
      limit: query.count('limit', MAX_PAGE, 100),
    }),
  doctor: async ({ backend, request }) => {
    const report = await backend.operator.doctor({
      places: await placesOf(backend).catch(() => backend.places),
      instances: await backend.instances.view().catch(() => undefined),
    })
    return doctorView(report, await backend.access.may(request, 'payloads', 'doctor'))
  },
  migrations: async ({ backend }) => backend.operator.migrations(),
}

/** Reads a view within the time that a page waits. @throws Problem 404, 503 */
export async function look(name: string, asked: Asked): Promise<unknown> {
  if (!Object.hasOwn(READS, name)) throw new Problem(404, 'console.not_found', 'there is no such view')
  const { clock } = asked.backend
  const late = Symbol('late')
  const read = READS[name] as Read
  const found = await within<unknown, unknown>(clock, LOOK_MS, read(asked), late)
  if (found === late) throw new Problem(503, 'console.timeout', 'the server that was asked takes too long to answer')
  return found
}

async function readSagas({ backend, request, query }: Asked) {
  const page = await backend.operator.sagas.list({
    saga: query.optionalText('saga'),
    status: query.has('status') && query.raw('status') !== '' ? query.oneOf('status', STATUSES) : undefined,
    idPrefix: query.optionalText('idPrefix'),
    owner: query.optionalText('owner'),
    code: query.optionalText('code'),
    olderThanMs: query.optionalCount('olderThanMs', Number.MAX_SAFE_INTEGER),
    order: query.oneOf('order', ['oldest', 'newest'], 'newest'),
    after: query.optionalText('after'),
    limit: query.count('limit', MAX_PAGE, 50),
  })
  const sagas = page.sagas.map(async (line) => {
    const words = line.failure !== null && (await backend.access.may(request, 'payloads', `${line.saga}/${line.id}`))
    return lineView(line, words)
  })
  return { sagas: await Promise.all(sagas), next: page.next }
}

async function readBindings({ backend, request }: Asked): Promise<readonly BindingStatus[]> {
  const bindings = backend.bindings?.() ?? []
  const views = bindings.map(async (each) => {
    if (each.error === undefined) return each
    const target = each.group === null ? each.channel : `${each.channel}.${each.group}`
    return (await backend.access.may(request, 'payloads', target)) ? each : { ...each, error: HIDDEN }
  })
  return Promise.all(views)
}

async function readOutbox({ backend: { operator, access }, request, query }: Asked) {
  const stats = await operator.outbox.stats()
  const limit = query.count('limit', MAX_PARKED, MAX_PAGE)
  const told = async <T extends FailingLine | ParkedLine>(line: T): Promise<T> => {
    const words = await access.may(request, 'payloads', `${line.destination}/${line.id}`)
    return words ? line : { ...line, lastError: HIDDEN }
  }
  const [failing, parked] = [await operator.outbox.failing({ limit }), await operator.outbox.parked({ limit })]
  return { stats, failing: await Promise.all(failing.map(told)), parked: await Promise.all(parked.map(told)) }
}

/** Lists the columns that differ. Their values are payloads, which are only shown by a separate action. */
async function readDifferences({ backend, query }: Asked): Promise<readonly UndoDifference[]> {
  const found = await backend.operator.undo.differences(branchIn(query))
  return found.map((each) => ({ ...each, key: {}, expected: HIDDEN, found: HIDDEN }))
}

export function branchIn(fields: Fields): UndoTarget {
  const [service, birth] = [fields.optionalText('service'), fields.optionalText('birth')]
  return { saga: fields.text('saga'), id: fields.text('id'), step: fields.text('step'), service, birth }
}

export function placeIn(fields: Fields): DeadLetterPlace {
  return {
    channel: fields.text('channel'),
    group: fields.text('group'),
    partitions: fields.optionalCount('partitions', 100_000),
  }
}

export function lettersTarget({ channel, group }: DeadLetterPlace): string {
  return `${channel}.${group}.dlq`
}

export function letterTarget(place: DeadLetterPlace, id: string): string {
  return `${lettersTarget(place)}/${id}`
}

export function inTurn<T>(
  { turns }: Pick<Backend, 'turns'>,
  place: DeadLetterPlace,
  work: () => Promise<T>,
): Promise<T> {
  return turns.take(`${place.channel}.${place.group}`, work)
}

/**
 * One reading at a time in the process, because it keeps every message that it reads. A reading that waits for a redrive of the
 * same group blocks no other.
 */
export function lookInTurn<T>(
  backend: Pick<Backend, 'turns' | 'clock'>,
  place: DeadLetterPlace,
  work: () => Promise<T>,
) {
  const since = backend.clock.monotonic()
  const look = (): Promise<T> => {
    // The caller has given up.
    if (backend.clock.monotonic() - since < LOOK_WAIT_MS) return work()
    throw new Problem(503, 'console.timeout', 'a redrive of this group, or another look, takes too long')
  }
  return inTurn(backend, place, () => LOOKS.take('', async () => look()))
}

/** Groups that may have dead letters: from the declarations, from instances on the bus, and from the log in the database. */
export async function placesOf({
  operator,
  places,
  instances,
}: Pick<Backend, 'operator' | 'places' | 'instances'>): Promise<readonly DeadLetterPlace[]> {
  const groups = await operator.groups()
  const { bindings } = await instances.view().catch(() => ({ bindings: [] }))
  const reported = bindings.flatMap(({ channel, group, partitions }) =>
    group === null ? [] : [{ channel, group, partitions }],
  )
  // No name of a channel or a group contains `:`.
  const keyOf = ({ channel, group }: DeadLetterPlace): string => `${channel}:${group}`
  const found = new Map([...reported, ...places].map((place) => [keyOf(place), place]))
  const letters = new Set(groups.filter(({ group }) => group === 'redrive').map(({ channel }) => channel))
  for (const { channel, group } of groups) {
    const place = { channel, group }
    if (letters.has(`${channel}.${group}.dlq`) && !found.has(keyOf(place))) found.set(keyOf(place), place)
  }
  return [...found.values()]
}

export async function clusterMembers({ operator }: Pick<Backend, 'operator'>, clusters: readonly string[]) {
  return Promise.all(clusters.map(async (cluster) => ({ cluster, members: await operator.cluster.members(cluster) })))
}
