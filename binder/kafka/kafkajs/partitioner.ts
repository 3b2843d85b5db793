import type { Envelope } from '../driver.ts'
import { RecordPlacement } from '../wire/record-placement.ts'
import type { PartitionerArgs } from './client-types.ts'

/** A send was given up: kafkajs must not go on with it. */
export class PublishAbandoned extends Error {
  override readonly name = 'PublishAbandoned'
  /** kafkajs' own word for "do not try again". */
  readonly retriable = false as const
}

/**
 * Decides partitions, and is the one place that every attempt of kafkajs passes before it sends.
 *
 * The decision is kept: kafkajs asks again for each retry, and an idempotent retry that carries other records under the same
 * sequence numbers would be taken for a duplicate by the broker and dropped.
 *
 * @param isOpen false for a topic once a send to it was given up; the endless retries of kafkajs cannot be cancelled otherwise
 */
export function createPartitioner(isOpen: (topic: string) => boolean): () => (args: PartitionerArgs) => number {
  const placement = new RecordPlacement()
  return () =>
    ({ topic, partitionMetadata, message }) => {
      if (!isOpen(topic)) throw new PublishAbandoned(`a message to "${topic}" is no longer to be sent`)
      const envelope = message as Envelope
      envelope.place ??= placement.place(topic, envelope.key, partitionMetadata.length)
      return envelope.place
    }
}
