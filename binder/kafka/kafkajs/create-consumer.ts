import type { MemberSpec } from '../driver.ts'
import { fetchSizes } from '../group/fetch-buffer-limits.ts'
import type { KafkaConsumer } from './client-types.ts'
import type { gatedAssigner } from './join-gate-assigner.ts'
import type { KafkaOptions } from './options.ts'
import { type FetchListener, readFetchesOf } from './patches/fetch-reader.ts'
import { type AskListener, Joins } from './patches/joins.ts'
import { atNextSeed } from './patches/next-seed.ts'
import { StoppedConsumerFetches } from './patches/stopped-consumer-fetches.ts'

/**
 * Creates a kafkajs consumer that never restarts by itself after a crash (its subscription is made again instead), survives
 * several consecutive rebalances and repeats a failed join. `onFetched` receives the result of each fetch for a partition, before
 * the batch.
 */
export function createConsumer(
  options: KafkaOptions,
  spec: MemberSpec,
  assigner: ReturnType<typeof gatedAssigner>,
  onFetched: FetchListener = () => {},
  onAsk: AskListener = () => {},
): KafkaConsumer {
  const sizes = fetchSizes(spec)
  const limits = { ...sizes, answerBytes: spec.prefetchBytes, maxBatchBytes: options.maxBatchBytes }
  const { kafka } = options
  const joins = new Joins(onAsk)
  const fetches = new StoppedConsumerFetches()
  const consumer = atNextSeed(kafka, () =>
    kafka.consumer({
      groupId: spec.groupId,
      allowAutoTopicCreation: false,
      partitionAssigners: [
        (config) => {
          readFetchesOf(config.cluster, limits, onFetched)
          const gated = assigner(config)
          joins.watch(config.cluster)
          fetches.watch(config.cluster)
          return gated
        },
      ],
      sessionTimeout: options.sessionTimeoutMs,
      rebalanceTimeout: options.rebalanceTimeoutMs,
      heartbeatInterval: options.heartbeatIntervalMs,
      maxWaitTimeInMs: options.maxWaitMs,
      maxBytes: sizes.maxBytes,
      maxBytesPerPartition: sizes.maxPartitionBytes,
      retry: {
        retries: 10,
        initialRetryTime: 100,
        maxRetryTime: 1_000,
        restartOnFailure: () => Promise.resolve(false),
      },
    }),
  )
  consumer.on('consumer.group_join', () => joins.joined())
  fetches.endWith(consumer)
  return consumer
}
