/** Declarations of a service: its bindings, those of its sagas and requests, its destinations, its roles. */
import { describeTopology, type PlannedBinding, type PlannedDestination } from '../../binder/assembly/topology.ts'
import { asDeclared } from '../../binder/bindings/complete-declarations.ts'
import type { Binding } from '../../binder/bindings/declarations.ts'
import { resolveConsumer } from '../../binder/bindings/resolve-options.ts'
import { sink } from '../../binder/bindings/sink-processor-source.ts'
import { type Channel, channelAt, checkName } from '../../binder/channel/channel.ts'
import { retryName } from '../../binder/consuming/failure/retry-destination.ts'
import { replyDestination } from '../../binder/requests/request-reply-format.ts'
import { destinationSpecs, type SendDestination } from '../../binder/sending/destination-provisioning.ts'
import { SECOND } from '../../core/clock.ts'
import { requireList, wrongKind } from '../../core/option-checks.ts'
import { signalGroup } from '../../saga/coordinator/signals.ts'
import { checkSaga } from '../../saga/definition/definition-rules.ts'
import type { Saga } from '../../saga/definition/saga-definition-types.ts'
import { commandChannels, messageSteps, withSubSagas } from '../../saga/definition/saga-destinations.ts'
import { REPLIES, REPLY_GROUP, sagaReplies } from '../../saga/wire/wire.ts'
import type { ServiceDeclaration } from '../../service/service.ts'
import { pipelinesOf } from './group-pipeline-bindings.ts'
import { systemSaga } from './sagas.ts'
import type { SystemBinding, SystemChannel, SystemSchedule, SystemService } from './system.ts'

export interface DeclaredDestination
  extends Pick<SystemChannel, 'name' | 'role' | 'partitions' | 'retentionMs' | 'of'> {
  readonly groups: readonly string[]
}

export interface DeclaredService {
  readonly service: SystemService
  readonly destinations: readonly DeclaredDestination[]
  /** With their schemas where they have one. */
  readonly channels: ReadonlyArray<Channel | SendDestination>
}

/** @throws TypeError / RangeError naming the service and what is wrong in it */
export function declaredService(path: string, declaration: ServiceDeclaration): DeclaredService {
  if (typeof declaration !== 'object' || declaration === null) {
    throw wrongKind(path, declaration, 'a service, or what one declares: { name, bindings, sends, sagas, ... }')
  }
  const name = checkName(`${path}.name`, declaration.name, 100)
  const { leads = {}, schedules = {}, cluster, parts } = declaration
  const own = requireList(`${path}.bindings`, declaration.bindings, 'sink(), processor() or source()').map(asDeclared)
  const sagas = withSubSagas(sagasOf(path, declaration.sagas))
  const bindings = [...own, ...sagaBindings(name, sagas), ...requestBindings(name, parts?.binder?.replies)]
  const sends = [...requireList(`${path}.sends`, declaration.sends, 'defineChannel()'), ...commandChannels(sagas)]
  const destinations = [...destinationSpecs(bindings, sends).values()]
  const plan = describeTopology(name, { bindings, destinations }, { name: '' })
  const read = bindings.map((binding, n) => bindingOf(binding, plan.bindings[n] as PlannedBinding))
  const service: SystemService = {
    name,
    bindings: read,
    sends: [...new Set(sends.map((channel) => channel.name))],
    sagas: sagas.map(systemSaga),
    pipelines: pipelinesOf(bindings, read),
    leads: Object.keys(leads),
    schedules: Object.entries(schedules).map(scheduleOf),
    cluster: cluster === undefined ? null : (cluster.name ?? name),
  }
  const channels = [...sends, ...bindings.flatMap(channelsOf)]
  return {
    service,
    channels,
    destinations: [...plan.destinations.map((each) => destinationOf(each, read)), ...repliesOf(bindings)],
  }
}

function sagasOf(path: string, given: ServiceDeclaration['sagas']): readonly Saga[] {
  const sagas = requireList(`${path}.sagas`, given, 'defineSaga()')
  for (const [n, saga] of sagas.entries()) checkSaga(`${path}.sagas[${n}]`, saga as Saga)
  return sagas as readonly Saga[]
}

const NOTHING = (): undefined => undefined

/** Inputs of a coordinator: replies, and messages that are signals. */
function sagaBindings(service: string, sagas: readonly Saga[]): readonly Binding[] {
  if (sagas.length === 0) return []
  const signals = new Map(sagas.flatMap(messageSteps).map(({ from: { channel } }) => [channel.name, channel]))
  return [
    sink(sagaReplies(service), { group: REPLY_GROUP }, NOTHING),
    ...[...signals.values()].map((channel) => sink(channel, { group: signalGroup(service) }, NOTHING)),
  ]
}

/** Inputs of a binder for its requests. */
function requestBindings(service: string, replies: readonly SendDestination[] = []): readonly Binding[] {
  return replies.map((place) => {
    const name = replyDestination(place.name, service)
    return sink(channelAt({ ...(place as Channel), groups: [] }, name), { name, maxAttempts: 1 }, NOTHING)
  })
}

function bindingOf(binding: Binding, { name, kind, input, group, deadLetters }: PlannedBinding): SystemBinding {
  const delayed = binding.kind !== 'source' && resolveConsumer(binding).retry === 'delayed'
  return {
    name,
    kind,
    input,
    group,
    outputs: outputsOf(binding).map((channel) => channel.name),
    deadLetters,
    retries: delayed && input !== null && group !== null ? retryName(input, group) : null,
    answers: (binding.kind === 'processor' && binding.replies?.name) || null,
  }
}

function outputsOf(binding: Binding): readonly Channel[] {
  const others = binding.kind === 'processor' ? (binding.outputs ?? []) : []
  return [...(binding.output === undefined ? [] : [binding.output]), ...others]
}

function channelsOf(binding: Binding): readonly Channel[] {
  const input = binding.kind === 'source' ? [] : [binding.input]
  const replies = binding.kind === 'processor' && binding.replies !== undefined ? [binding.replies] : []
  return [...input, ...outputsOf(binding), ...replies]
}

function destinationOf(planned: PlannedDestination, bindings: readonly SystemBinding[]): DeclaredDestination {
  const { name, role, partitions, groups, retentionMs = null } = planned
  const of = bindings.find(({ deadLetters, retries }) => deadLetters === name || retries === name)?.input ?? null
  const isReply = role === 'channel' && (name.endsWith(REPLIES) || isReplyPlace(name, bindings))
  return { name, role: isReply ? 'replies' : role, partitions, groups, retentionMs, of }
}

/** Read by each instance for its own requests. */
function isReplyPlace(name: string, bindings: readonly SystemBinding[]): boolean {
  return bindings.some(({ input, group, name: binding }) => input === name && group === null && binding === name)
}

/** Replies go to destinations below the reply channel, by requester; the channel itself is no destination. */
function repliesOf(bindings: readonly Binding[]): readonly DeclaredDestination[] {
  return bindings.flatMap((binding) =>
    binding.kind === 'processor' && binding.replies !== undefined
      ? [
          {
            name: binding.replies.name,
            role: 'replies' as const,
            partitions: binding.replies.partitions,
            groups: [],
            retentionMs: null,
            of: null,
          },
        ]
      : [],
  )
}

type Jobs = NonNullable<ServiceDeclaration['schedules']>[string]['jobs']

function scheduleOf([role, { jobs }]: [string, { readonly jobs: Jobs }]): SystemSchedule {
  return { role, jobs: jobs.map((job) => ({ name: job.name, when: whenOf(job) })) }
}

function whenOf({ everyMs, cron, timeZone = 'UTC' }: Jobs[number]): string {
  if (everyMs === undefined) return `${cron} ${timeZone}`
  return everyMs % SECOND === 0 ? `every ${everyMs / SECOND} s` : `every ${everyMs} ms`
}
