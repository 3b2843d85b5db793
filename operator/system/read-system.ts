/** Describes services from their declarations. Pure: it runs nothing and connects to nothing. */
import type { Channel } from '../../binder/channel/channel.ts'
import type { SendDestination } from '../../binder/sending/destination-provisioning.ts'
import { invalidOption } from '../../core/errors.ts'
import { hasMethods, wrongKind } from '../../core/option-checks.ts'
import { REPLIES } from '../../saga/wire/wire.ts'
import type { Service, ServiceDeclaration } from '../../service/service.ts'
import { type DeclaredService, declaredService } from './declared-service.ts'
import type { SystemChannel, SystemTopology } from './system.ts'

/** Sources of a description: a service's declarations, or a service, started or not. */
export type Describable = ServiceDeclaration | Pick<Service, 'describe'>

/** False where only a place was declared. */
function hasSchema(declared: Channel | SendDestination | undefined): declared is Channel {
  return declared !== undefined && 'schema' in declared
}

/** Combined declarations of services, with the channels that they declare. */
export interface System {
  readonly topology: SystemTopology
  /** By name; without a schema where only a place was declared. */
  readonly declared: ReadonlyMap<string, Channel | SendDestination>
  /** Each channel once per service. */
  readonly declarations: ReadonlyArray<{ readonly service: string; readonly channel: Channel | SendDestination }>
}

/**
 * Combines the declarations of services, and keeps the channels with their schemas.
 * @param path begins the messages of errors, such as `asyncapi`
 * @throws TypeError / RangeError naming the service and the mistake
 */
export function readSystem(path: string, services: readonly Describable[]): System {
  if (!Array.isArray(services) || services.length === 0) {
    throw wrongKind(`${path}.services`, services, 'a list of at least one service or declaration')
  }
  const read = services.map((service, n) => declaredService(`${path}.services[${n}]`, declarationOf(service)))
  const names = read.map(({ service }) => service.name)
  const twice = names.find((name, n) => names.indexOf(name) !== n)
  if (twice !== undefined) throw invalidOption(`${path}.services`, twice, 'each service once')
  const declarations = read.flatMap(({ service, channels }) =>
    [...new Set(channels)].map((channel) => ({ service: service.name, channel })),
  )
  return {
    topology: { services: read.map(({ service }) => service), channels: channelsOf(path, read) },
    declared: declaredChannels(declarations.map(({ channel }) => channel)),
    declarations,
  }
}

/** Combines the declarations of services, as JSON. @throws TypeError / RangeError naming the service and the mistake */
export function describeSystem(services: readonly Describable[]): SystemTopology {
  return readSystem('describeSystem', services).topology
}

function declarationOf(service: Describable): ServiceDeclaration {
  return hasMethods(service, ['describe'])
    ? (service as Pick<Service, 'describe'>).describe()
    : (service as ServiceDeclaration)
}

function channelsOf(path: string, read: readonly DeclaredService[]): readonly SystemChannel[] {
  const destinations = new Map<string, SystemChannel & { readonly groups: readonly string[] }>()
  for (const { service, destinations: own } of read) {
    for (const { name, role, partitions, groups, retentionMs, of } of own) {
      const known = destinations.get(name)
      if (known !== undefined && known.partitions !== partitions) {
        const expected = `${known.partitions}, as another service declares it`
        throw invalidOption(`${path}: channel("${name}").partitions of ${service.name}`, partitions, expected)
      }
      destinations.set(name, {
        ...(known ?? { name, role, partitions, retentionMs, of, ...usersOf(name, read) }),
        groups: [...new Set([...(known?.groups ?? []), ...groups])],
        otherGroups: [],
      })
    }
  }
  return [...destinations.values()].map(({ groups, ...channel }) => ({
    ...channel,
    otherGroups: groups.filter((group) => !channel.readers.some((reader) => reader.group === group)),
  }))
}

function usersOf(name: string, read: readonly DeclaredService[]): Pick<SystemChannel, 'senders' | 'readers'> {
  const commands = commandsAnsweredAt(name, read)
  const senders = read.filter(
    ({ service: { sends, bindings } }) =>
      bindings.some(
        ({ input, outputs, deadLetters, retries, answers }) =>
          [...sends, ...outputs, deadLetters, retries, answers].includes(name) ||
          (answers !== null && name.startsWith(`${answers}.`)) ||
          (input !== null && commands.has(input)),
      ) || sends.includes(name),
  )
  const readers = read.flatMap(({ service: { name: service, bindings } }) =>
    bindings.flatMap(({ input, retries, group }) => (input === name || retries === name ? [{ service, group }] : [])),
  )
  return { senders: senders.map(({ service }) => service.name), readers }
}

/** The command channels whose participants answer here. */
function commandsAnsweredAt(name: string, read: readonly DeclaredService[]): ReadonlySet<string> {
  const coordinator = read.find(({ service }) => name === `${service.name}${REPLIES}`)
  const steps = coordinator?.service.sagas.flatMap((saga) => saga.steps) ?? []
  return new Set(steps.flatMap(({ to }) => to ?? []))
}

/** A channel with a schema takes precedence over a place. */
function declaredChannels(
  all: ReadonlyArray<Channel | SendDestination>,
): ReadonlyMap<string, Channel | SendDestination> {
  const entries = all.map((channel) => [channel.name, channel] as const)
  return new Map([...entries, ...entries.filter(([, channel]) => hasSchema(channel))])
}
