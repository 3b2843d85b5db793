import type { KafkaClient } from './client-types.ts'
import { atNextSeed } from './patches/next-seed.ts'

/** A consumer of kafkajs whose partitions are all paused waits for this time instead of fetching. */
const MAX_WAIT_MS = 10

/**
 * Commits the positions of a group without members. kafkajs' `admin.setOffsets` does the same, but stays in the group for the 5 s
 * of its fetch, during which no member can join.
 * @returns false when the group has members, because only these can commit
 */
export async function commitPositions(
  kafka: KafkaClient,
  groupId: string,
  topic: string,
  positions: ReadonlyMap<number, number>,
): Promise<boolean> {
  const retry = {
    retries: 3,
    initialRetryTime: 100,
    maxRetryTime: 1_000,
    restartOnFailure: () => Promise.resolve(false),
  }
  const consumer = atNextSeed(kafka, () =>
    kafka.consumer({ groupId, allowAutoTopicCreation: false, maxWaitTimeInMs: MAX_WAIT_MS, retry }),
  )
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    const { state } = await consumer.describeGroup()
    if (state !== 'Empty' && state !== 'Dead') return false
    const committed = Promise.withResolvers<void>()
    // A seek is committed ahead of the fetch that follows it.
    consumer.on('consumer.fetch', () => committed.resolve())
    consumer.on('consumer.crash', ({ payload }) => committed.reject((payload as { readonly error: Error }).error))
    const running = consumer.run({
      autoCommit: true,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: 1,
      eachBatch: () => Promise.resolve(),
    })
    consumer.pause([{ topic }])
    for (const [partition, offset] of positions) consumer.seek({ topic, partition, offset: String(offset) })
    await Promise.all([running, committed.promise])
    return true
  } finally {
    await consumer.disconnect()
  }
}
