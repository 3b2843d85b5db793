import type { IncomingRecord, OutgoingRecord } from '../driver.ts'

/**
 * The part of kafkajs that this adapter uses, as structural types: a `new Kafka({ ... })` of kafkajs 2.2 is assignable, nothing
 * here imports it, and a program without Kafka loads none of it.
 */
export interface KafkaClient {
  producer(config: KafkaProducerConfig): KafkaProducer
  consumer(config: Partial<KafkaConsumerConfig> & Pick<KafkaConsumerConfig, 'groupId'>): KafkaConsumer
  admin(config?: { readonly retry?: KafkaRetry }): KafkaAdmin
}

export interface KafkaRetry {
  initialRetryTime?: number
  maxRetryTime?: number
  factor?: number
  multiplier?: number
  retries?: number
  restartOnFailure?: (error: Error) => Promise<boolean>
}

// ---- producer

export interface KafkaProducerConfig {
  idempotent: boolean
  allowAutoTopicCreation: boolean
  createPartitioner: () => (args: PartitionerArgs) => number
  retry: KafkaRetry
}

export interface PartitionerArgs {
  topic: string
  partitionMetadata: ReadonlyArray<{ readonly partitionId: number }>
  /** The same object that was passed to `sendBatch`. */
  message: unknown
}

/** The used part of a kafkajs producer. */
export interface KafkaProducer {
  connect(): Promise<void>
  disconnect(): Promise<void>
  sendBatch(batch: {
    acks: number
    timeout: number
    compression?: number
    /** A header or value that is not a `Buffer` would be written as `String(value)`. */
    topicMessages: Array<{ topic: string; messages: OutgoingRecord[] }>
  }): Promise<ReadonlyArray<{ readonly topicName: string; readonly partition: number; readonly errorCode: number }>>
}

// ---- consumer

export interface KafkaConsumerConfig {
  groupId: string
  allowAutoTopicCreation: boolean
  partitionAssigners: Array<(config: { readonly cluster: KafkaCluster }) => KafkaAssigner>
  sessionTimeout: number
  rebalanceTimeout: number
  heartbeatInterval: number
  maxWaitTimeInMs: number
  maxBytes: number
  maxBytesPerPartition: number
  retry: KafkaRetry
}

/** Argument of a custom assigner: the consumer's own connections. */
export interface KafkaCluster {
  findTopicPartitionMetadata(topic: string): ReadonlyArray<{ readonly partitionId: number }>
}

export interface KafkaAssigner {
  name: string
  version: number
  assign(group: {
    readonly members: ReadonlyArray<{ readonly memberId: string; readonly memberMetadata: Buffer }>
    readonly topics: readonly string[]
  }): Promise<Array<{ readonly memberId: string; readonly memberAssignment: Buffer }>>
  protocol(subscription: { readonly topics: readonly string[] }): { name: string; metadata: Buffer }
}

export interface KafkaBatch {
  readonly topic: string
  readonly partition: number
  readonly messages: readonly IncomingRecord[]
  /** Start of the fetch; exists in kafkajs' code, but not in its types. */
  readonly fetchedOffset?: unknown
  lastOffset(): string
}

export interface TopicOffsets {
  topics: Array<{ topic: string; partitions: Array<{ partition: number; offset: string }> }>
}

export interface KafkaBatchPayload {
  readonly batch: KafkaBatch
  resolveOffset(offset: string): void
  heartbeat(): Promise<void>
  /** Commits directly at the coordinator, without the retries of `consumer.commitOffsets`. */
  commitOffsetsIfNecessary(offsets: TopicOffsets): Promise<void>
  isStale(): boolean
}

/** The used part of a kafkajs consumer. */
export interface KafkaConsumer {
  connect(): Promise<void>
  disconnect(): Promise<void>
  subscribe(subscription: { topics: string[]; fromBeginning: boolean }): Promise<void>
  describeGroup(): Promise<{ readonly state: string }>
  run(config: {
    autoCommit: boolean
    eachBatchAutoResolve: boolean
    partitionsConsumedConcurrently: number
    eachBatch: (payload: KafkaBatchPayload) => Promise<void>
  }): Promise<void>
  seek(position: { topic: string; partition: number; offset: string }): void
  pause(partitions: Array<{ topic: string; partitions?: number[] }>): void
  resume(partitions: Array<{ topic: string; partitions?: number[] }>): void
  on(event: KafkaConsumerEvent, listener: (event: { readonly payload: unknown }) => void): unknown
}

export type KafkaConsumerEvent =
  | 'consumer.group_join'
  | 'consumer.heartbeat'
  | 'consumer.crash'
  | 'consumer.stop'
  | 'consumer.end_batch_process'
  | 'consumer.fetch'

/** Payload of `consumer.group_join`. */
export interface GroupJoin {
  readonly memberAssignment: Readonly<Record<string, readonly number[]>>
}

/** Payload of `consumer.end_batch_process`. Size 0: only control records and aborted ones. */
export interface EndedBatch {
  readonly topic: string
  readonly partition: number
  readonly batchSize: number
  readonly lastOffset: string
}

/** Payload of `consumer.crash`. */
export interface Crash {
  readonly error: Error
}

// ---- admin

/** The used part of a kafkajs admin client. */
export interface KafkaAdmin {
  connect(): Promise<void>
  disconnect(): Promise<void>
  listTopics(): Promise<string[]>
  createTopics(options: { topics: KafkaTopic[]; waitForLeaders: boolean; timeout: number }): Promise<boolean>
  describeConfigs(options: { resources: Array<{ type: number; name: string }>; includeSynonyms: boolean }): Promise<{
    resources: ReadonlyArray<{
      readonly resourceName: string
      readonly configEntries: ReadonlyArray<{ readonly configName: string; readonly configValue: string }>
    }>
  }>
  fetchTopicMetadata(options: { topics: string[] }): Promise<{
    topics: ReadonlyArray<{
      readonly name: string
      readonly partitions: ReadonlyArray<{ readonly partitionId: number; readonly leader: number }>
    }>
  }>
  fetchTopicOffsets(
    topic: string,
  ): Promise<ReadonlyArray<{ readonly partition: number; readonly low: string; readonly high: string }>>
  /** Offset -1: the group has committed nothing there. */
  fetchOffsets(options: { groupId: string; topics: string[] }): Promise<
    ReadonlyArray<{
      readonly topic: string
      readonly partitions: ReadonlyArray<{ readonly partition: number; readonly offset: string }>
    }>
  >
  /** Returns for each partition the first record at this time or later, or the end. */
  fetchTopicOffsetsByTimestamp(
    topic: string,
    timestamp?: number,
  ): Promise<ReadonlyArray<{ readonly partition: number; readonly offset: string }>>
  deleteGroups(groupIds: string[]): Promise<unknown>
}

export interface KafkaTopic {
  topic: string
  numPartitions: number
  replicationFactor: number
  configEntries: Array<{ name: string; value: string }>
}
