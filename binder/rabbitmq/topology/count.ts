/**
 * Counts the messages of a group, also for a process that has not declared the channel: an operator may assume a wrong number of
 * partitions.
 */
import { toError } from '../../../core/errors.ts'
import { partitionMismatch, type TransportError } from '../../errors.ts'
import type { GroupPlace } from '../../transport/transport.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { failure, replyCodeOf, TRANSPORT } from '../transport-errors.ts'
import { type Ask, declareUnbound, look } from './declare.ts'
import { declarationsOf, existingCount, mismatchOf } from './provision.ts'
import { markerOf } from './topology-names.ts'

const NOT_FOUND = 404
const DENIED = 403

/** State of the queues of a group. */
export interface QueueCounts {
  /** Messages that are not delivered to a consumer. */
  readonly ready: number
  readonly consumers: number
}

/** @throws TransportError `unroutable` with the missing queue */
export async function countIn(
  ask: Ask,
  { destination, group }: GroupPlace,
  queues: readonly string[],
): Promise<QueueCounts> {
  let [ready, consumers] = [0, 0]
  try {
    await ask(`count the messages of "${destination}" for "${group}"`, async (channel) => {
      for (const queue of queues) {
        const { messageCount, consumerCount } = await channel.checkQueue(queue)
        ready += messageCount
        consumers += consumerCount
      }
    })
    return { ready, consumers }
  } catch (error) {
    const cause = toError(error).cause
    if (replyCodeOf(cause) !== NOT_FOUND) throw error
    const [, queue = queues[0]] = /no queue '([^']+)'/.exec(toError(cause).message) ?? []
    throw failure('unroutable', `"${destination}" has no group "${group}": the queue "${queue}" is missing`, {
      destination,
      cause,
    })
  }
}

/**
 * Compares the number of partitions with the channel's own: counting only some of its queues would give too low a number.
 * @throws TransportError `mismatch`. A user who may not declare the exchange with the number is not stopped
 */
export async function requirePartitions(
  ask: Ask,
  { destination: name, partitions }: GroupPlace,
  options: Pick<ResolvedRabbitOptions, 'queueArguments' | 'places'>,
): Promise<void> {
  if (options.places.has(name) && partitions !== 1) throw onePartition(name, partitions)
  const spec = { name, partitions, groups: [] }
  const marker = declarationsOf(spec, options).find((each) => each.name === markerOf(name))
  if (marker === undefined) return
  try {
    await ask(`compare the number of partitions of "${name}"`, async (channel) => {
      await look(channel, marker)
      await declareUnbound(channel, marker)
    })
  } catch (error) {
    const cause = toError(error).cause
    const code = replyCodeOf(cause)
    if (code === NOT_FOUND || code === DENIED) return
    const existing = existingCount(cause)
    throw existing === undefined ? error : mismatchOf(spec, existing, cause)
  }
}

/** Another program's exchange or queue has one partition. */
function onePartition(name: string, declared: number): TransportError {
  return partitionMismatch(TRANSPORT, name, { existing: 1, declared }, 'take it out of rabbitTransport.places')
}
