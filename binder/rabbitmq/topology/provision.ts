import { toError } from '../../../core/errors.ts'
import { partitionMismatch, type TransportError } from '../../errors.ts'
import type { DestinationSpec, SubscriptionSpec, TopologyPart } from '../../transport/transport.ts'
import type { AmqpChannel } from '../link/amqplib-types.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { failure, replyCodeOf, TRANSPORT, toTransportError } from '../transport-errors.ts'
import { type Declaration, declare, type ExchangeDeclaration, nameOf, partOf, settledMark } from './declare.ts'
import type { DelayLadder } from './delay-ladder.ts'
import { exchangeOf, hasForeignExchange, type Places, type ResolvedPlace } from './foreign-places.ts'
import { countsOf, markerOf, queueOf, routingKeyOf, settledOf } from './topology-names.ts'

type QueueOptions = Pick<ResolvedRabbitOptions, 'queueArguments' | 'places'>

/** Declarations of a destination and its durable groups, in order; delays are separate. Pure. */
export function declarationsOf(
  { name, partitions, groups }: DestinationSpec,
  { queueArguments, places }: QueueOptions,
): readonly Declaration[] {
  const place = places.get(name)
  if (place !== undefined) return placed(name, groups, place, queueArguments)
  const queues = groups.flatMap((group) =>
    Array.from({ length: partitions }, (_, partition) => ({
      kind: 'queue' as const,
      name: queueOf(name, group, partition, partitions),
      arguments: queueArguments,
      exchange: name,
      routingKey: routingKeyOf(partition),
    })),
  )
  const exchange = { kind: 'exchange', name, type: 'direct', options: { durable: true } } as const
  return [exchange, markerDeclaration(name, partitions), ...queues]
}

/** Our part of a channel on another program's exchange: the queues of its groups. */
function placed(
  name: string,
  groups: readonly string[],
  place: ResolvedPlace,
  queueArguments: ResolvedRabbitOptions['queueArguments'],
): readonly Declaration[] {
  if (!hasForeignExchange(place)) return []
  return groups
    .filter((group) => !place.queues.has(group))
    .map((group) => ({
      kind: 'queue' as const,
      name: queueOf(name, group, 0, 1),
      arguments: queueArguments,
      exchange: place.exchange ?? '',
      routingKey: place.bindingKey,
    }))
}

/** The last queue of each of our groups, and for quorum queues the exchange that marks them as settled. */
export function settlingOf(
  { name, partitions, groups: all }: DestinationSpec,
  { queueArguments, places }: QueueOptions,
): ReadonlyArray<{ readonly queue: string; readonly settled: ExchangeDeclaration | undefined }> {
  const place = places.get(name)
  const groups = place === undefined ? all : all.filter((group) => !place.queues.has(group))
  const isQuorum = queueArguments['x-queue-type'] === 'quorum'
  return groups.map((group) => ({
    queue: queueOf(name, group, partitions - 1, partitions),
    settled: isQuorum ? settledMark(settledOf(name, group)) : undefined,
  }))
}

/** The marks of the groups that have to settle. */
export function marksOf(spec: DestinationSpec, options: QueueOptions): readonly ExchangeDeclaration[] {
  return settlingOf(spec, options).flatMap(({ settled }) => settled ?? [])
}

/** The number of partitions as an argument that RabbitMQ compares: a different number is refused, with both numbers. */
function markerDeclaration(destination: string, partitions: number): ExchangeDeclaration {
  const options = { durable: true, internal: true, alternateExchange: String(partitions) } as const
  return { kind: 'exchange', name: markerOf(destination), type: 'fanout', options }
}

/**
 * Creates one destination and its durable groups. Every step is a declaration, which can be repeated without effect; a failed one
 * closes the channel.
 * @throws TransportError `mismatch` if an existing object was declared differently
 */
export async function provisionDestination(
  channel: AmqpChannel,
  spec: DestinationSpec,
  options: QueueOptions,
): Promise<void> {
  try {
    await declareAll(channel, declarationsOf(spec, options), spec.name)
  } catch (error) {
    const { cause } = toError(error)
    const existing = existingCount(cause)
    throw existing === undefined ? error : mismatchOf(spec, existing, cause)
  }
}

/** @throws TransportError with the object that could not be declared */
export async function declareAll(
  channel: AmqpChannel,
  declarations: readonly Declaration[],
  destination?: string,
): Promise<void> {
  for (const declaration of declarations) {
    try {
      await declare(channel, declaration)
    } catch (cause) {
      throw toTransportError(`declare ${nameOf(declaration)}`, cause, destination)
    }
  }
}

/** All objects that a destination needs, as data, exchanges first. Pure. */
export function partsOf(spec: DestinationSpec, options: QueueOptions, ladder: DelayLadder): readonly TopologyPart[] {
  const delaying = (): readonly Declaration[] => [
    ...ladder.declarations(),
    ladder.settled,
    ladder.dueDeclaration(spec.name, exchangeOf(spec.name, options.places)),
    ladder.dueSettled(spec.name),
  ]
  const own = [...declarationsOf(spec, options), ...marksOf(spec, options)]
  return [own, spec.delays === true ? delaying() : []].flatMap((declarations) => [
    ...declarations.filter(({ kind }) => kind === 'exchange').map(partOf),
    ...declarations.filter(({ kind }) => kind === 'queue').map(partOf),
  ])
}

/**
 * An exclusive queue that receives every message of the destination from now on.
 * @param onMade called with its name, also if a later step fails: the broker deletes a queue after its last consumer, and it had
 * none
 * @returns its name
 */
export async function provisionAnonymous(
  channel: AmqpChannel,
  { destination, partitions }: Pick<SubscriptionSpec, 'destination' | 'partitions'>,
  places: Places,
  onMade: (queue: string) => void,
): Promise<string> {
  const place = places.get(destination)
  if (place !== undefined && !hasForeignExchange(place))
    throw failure(
      'mismatch',
      `"${destination}" lies on a queue: a binding without a group needs an exchange in rabbitTransport.places`,
      { destination },
    )
  const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
  onMade(queue)
  for (let partition = 0; partition < partitions; partition++) {
    await channel.bindQueue(queue, exchangeOf(destination, places), place?.bindingKey ?? routingKeyOf(partition))
  }
  return queue
}

export function mismatchOf({ name, partitions }: DestinationSpec, existing: number, cause?: unknown): TransportError {
  const remedy =
    `drain and delete the exchanges "${name}" and "${markerOf(name)}" and the queues ` +
    `"${name}:*", with every service stopped`
  return partitionMismatch(TRANSPORT, name, { existing, declared: partitions }, remedy, cause)
}

/** The number of partitions in the marker's declaration, if the broker refused another number. */
export function existingCount(cause: unknown): number | undefined {
  return replyCodeOf(cause) === 406 ? countsOf(toError(cause).message)?.existing : undefined
}
