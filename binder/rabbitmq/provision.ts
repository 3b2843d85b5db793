import { toError } from '../../core/errors.ts'
import type { TransportError } from '../errors.ts'
import type { DestinationSpec } from '../transport.ts'
import type { AmqpChannel } from './client.ts'
import { failure, replyCodeOf, toTransportError } from './failure.ts'
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
    await channel.assertExchange(markerOf(name), 'fanout', {
      durable: true,
      internal: true,
      alternateExchange: String(partitions),
    })
  } catch (cause) {
    throw partitionMismatch(name, partitions, cause) ?? cause
  }
}

function partitionMismatch(destination: string, partitions: number, cause: unknown): TransportError | undefined {
  const counts = replyCodeOf(cause) === 406 ? countsOf(toError(cause).message) : undefined
  if (counts === undefined) return undefined
  return failure(
    'mismatch',
    `"${destination}" has ${counts.existing} partitions on RabbitMQ, this service declares ${partitions}. ` +
      'Every service must say the same number: a key would change its partition. To change it, drain and delete the ' +
      `exchanges "${destination}" and "${markerOf(destination)}" and the queues "${destination}:*".`,
    { destination, cause },
  )
}

async function step(what: string, destination: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (cause) {
    throw toTransportError(what, cause, destination)
  }
}
