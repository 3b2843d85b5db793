import { toError } from '../../core/errors.ts'
import { partitionMismatch, type TransportError } from '../errors.ts'
import type { DestinationSpec, TopologyPart } from '../transport.ts'
import type { AmqpChannel } from './client.ts'
import { delayPartsOf } from './delay.ts'
import { replyCodeOf, TRANSPORT, toTransportError } from './failure.ts'
import type { ResolvedRabbitOptions } from './options.ts'
import { countsOf, markerOf, queueOf, routingKeyOf } from './topology.ts'

/**
 * Makes one destination and its durable groups exist. Every step is a declaration, which the broker repeats without
 * effect; a failed one closes the channel.
 * @throws TransportError `mismatch` when what exists was declared otherwise
 */
export async function provisionDestination(
  channel: AmqpChannel,
  spec: DestinationSpec,
  options: Pick<ResolvedRabbitOptions, 'queueArguments'>,
): Promise<void> {
  const { name, partitions } = spec
  await step(`mark "${name}" with its ${partitions} partitions`, name, () => declareMarker(channel, spec))
  await step(`declare exchange "${name}"`, name, () => channel.assertExchange(name, 'direct', { durable: true }))
  for (const group of spec.groups) {
    for (let partition = 0; partition < partitions; partition++) {
      const queue = queueOf(name, group, partition, partitions)
      await step(`declare queue "${queue}"`, name, async () => {
        await channel.assertQueue(queue, { durable: true, arguments: { ...options.queueArguments } })
        await channel.bindQueue(queue, name, routingKeyOf(partition))
      })
    }
  }
}

/** What `provisionDestination` declares, as data. Pure. */
export function partsOf(
  { name, partitions, groups, delays }: DestinationSpec,
  { queueArguments }: Pick<ResolvedRabbitOptions, 'queueArguments'>,
): readonly TopologyPart[] {
  const { alternateExchange } = markerOptions(partitions)
  const marker = { type: 'fanout', durable: true, internal: true, 'alternate-exchange': alternateExchange }
  return [
    { kind: 'exchange', name, details: { type: 'direct', durable: true } },
    { kind: 'exchange', name: markerOf(name), details: marker },
    ...groups.flatMap((group) =>
      Array.from({ length: partitions }, (_, partition) => ({
        kind: 'queue',
        name: queueOf(name, group, partition, partitions),
        details: { durable: true, ...queueArguments, exchange: name, routingKey: routingKeyOf(partition) },
      })),
    ),
    ...(delays === true ? delayPartsOf(name) : []),
  ]
}

/** An exclusive queue that gets every message of the destination from now on. @returns its name */
export async function provisionAnonymous(
  channel: AmqpChannel,
  destination: string,
  partitions: number,
): Promise<string> {
  const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
  for (let partition = 0; partition < partitions; partition++) {
    await channel.bindQueue(queue, destination, routingKeyOf(partition))
  }
  return queue
}

/** The number of partitions as an argument that RabbitMQ compares: a second opinion is refused with both numbers. */
async function declareMarker(channel: AmqpChannel, { name, partitions }: DestinationSpec): Promise<void> {
  try {
    await channel.assertExchange(markerOf(name), 'fanout', markerOptions(partitions))
  } catch (cause) {
    throw mismatchOf(name, partitions, cause) ?? cause
  }
}

/** How the marker is declared. */
export function markerOptions(partitions: number): { durable: boolean; internal: boolean; alternateExchange: string } {
  return { durable: true, internal: true, alternateExchange: String(partitions) }
}

function mismatchOf(destination: string, partitions: number, cause: unknown): TransportError | undefined {
  const existing = existingCount(cause)
  if (existing === undefined) return undefined
  const remedy =
    `drain and delete the exchanges "${destination}" and "${markerOf(destination)}" and the queues ` +
    `"${destination}:*", with every service stopped`
  return partitionMismatch(TRANSPORT, destination, { existing, declared: partitions }, remedy, cause)
}

/** The partitions that the marker was declared with, when the broker refused another number. */
export function existingCount(cause: unknown): number | undefined {
  return replyCodeOf(cause) === 406 ? countsOf(toError(cause).message)?.existing : undefined
}

async function step(what: string, destination: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (cause) {
    throw toTransportError(what, cause, destination)
  }
}
