import type { MemberSpec } from '../driver.ts'
import type { gatedAssigner } from './assigner.ts'
import type { KafkaConsumer } from './client.ts'
import { type FetchListener, readFetchesOf } from './mends/fetch-reader.ts'
import { mendHeaderDecoding } from './mends/header-decoding.ts'
import type { KafkaOptions } from './options.ts'

const MIN_FETCH_BYTES = 64 * 1024
/** What a fetch brings is alive until it is handled: twice of it, measured, costs a third more CPU, in collecting garbage. */
const MAX_PARTITION_BYTES = 512 * 1024
const MAX_FETCH_BYTES = 10 * 1024 * 1024

/**
 * A kafkajs consumer that never restarts by itself after a crash (its subscription is made anew instead) and rides out
 * several rebalances in a row. `onFetched` hears what each fetch said about a partition, before the batch comes.
 */
export function createConsumer(
  options: KafkaOptions,
  spec: MemberSpec,
  assigner: ReturnType<typeof gatedAssigner>,
  onFetched: FetchListener = () => {},
): KafkaConsumer {
  const perPartition = Math.floor(spec.prefetchBytes / Math.max(1, spec.partitions))
  mendHeaderDecoding()
  return options.kafka.consumer({
    groupId: spec.groupId,
    allowAutoTopicCreation: false,
    partitionAssigners: [
      (config) => {
        readFetchesOf(config.cluster, onFetched)
        return assigner(config)
      },
    ],
    sessionTimeout: options.sessionTimeoutMs,
    rebalanceTimeout: options.rebalanceTimeoutMs,
    heartbeatInterval: options.heartbeatIntervalMs,
    maxWaitTimeInMs: options.maxWaitMs,
    maxBytes: Math.min(MAX_FETCH_BYTES, Math.max(MIN_FETCH_BYTES, spec.prefetchBytes)),
    maxBytesPerPartition: Math.min(MAX_PARTITION_BYTES, Math.max(MIN_FETCH_BYTES, perPartition)),
    retry: {
      retries: 10,
      initialRetryTime: 100,
      maxRetryTime: 1_000,
      restartOnFailure: () => Promise.resolve(false),
    },
  })
}
