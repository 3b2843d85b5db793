import { partitionOf } from '../../channel/partition.ts'
import type { Envelope } from '../driver.ts'
import type { PartitionerArgs } from './client.ts'

/** A producer was given up: kafkajs must not send anything on it any more. */
export class PublishAbandoned extends Error {
  override readonly name = 'PublishAbandoned'
  /** kafkajs' own word for "do not try again". */
  readonly retriable = false as const
}

/**
 * Decides partitions, and is the one place that every attempt of kafkajs passes before it sends.
 *
 * A key goes where the Java client puts it: murmur2 over the topic's real count. Records without one take turns. The
 * decision is kept: kafkajs asks again for each retry, and an idempotent retry that carries other records under the same
 * sequence numbers would be taken for a duplicate by the broker and dropped.
 *
 * @param isOpen false once the producer was given up; the endless retries of kafkajs cannot be cancelled otherwise
 */
export function createPartitioner(isOpen: () => boolean): () => (args: PartitionerArgs) => number {
  const turns = new Map<string, number>()
  return () =>
    ({ topic, partitionMetadata, message }) => {
      if (!isOpen()) throw new PublishAbandoned(`a message to "${topic}" is no longer to be sent`)
      const envelope = message as Envelope
      envelope.place ??= choose(topic, envelope.key, partitionMetadata.length, turns)
      return envelope.place
    }
}

function choose(topic: string, key: Envelope['key'], count: number, turns: Map<string, number>): number {
  if (key !== null) return partitionOf(key, count)
  const turn = turns.get(topic) ?? Math.floor(Math.random() * count)
  turns.set(topic, (turn + 1) % count)
  return turn % count
}
