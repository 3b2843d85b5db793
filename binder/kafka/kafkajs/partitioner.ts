import type { Envelope } from '../driver.ts'
import { RecordPlacement } from '../wire/record-placement.ts'
import type { PartitionerArgs } from './client-types.ts'

/** Thrown when a send was abandoned, to stop kafkajs. */
export class PublishAbandoned extends Error {
  override readonly name = 'PublishAbandoned'
  /** kafkajs' own word for "do not try again". */
  readonly retriable = false as const
}

/**
 * Decides partitions. Every attempt of kafkajs passes through here before it sends.
 *
 * The decision is kept, because kafkajs asks again for each retry, and the broker would take an idempotent retry with other
 * records under the same sequence numbers for a duplicate and drop it.
 *
 * @param isOpen false for a topic after a send to it was abandoned; the endless retries of kafkajs cannot be cancelled otherwise
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
