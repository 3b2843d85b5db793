import { invalidOption } from '../../core/errors.ts'
import type { ProvisionMode } from '../transport/provision-mode.ts'
import { COMPRESSION_TYPES, type Compression } from './wire/compression-codecs.ts'

/** Options of `kafkaTransport` and of `platformaticTransport`, which do not depend on the client library. */
export interface KafkaCommonOptions {
  /**
   * Whether the topics of the declared channels are created (`create`), only compared (`check`: one error names all missing and
   * different ones), or not checked (`none`). @default 'create'
   */
  readonly provision?: ProvisionMode | undefined
  /** Number of replicas of each topic created by `provision`; -1 is the broker's `default.replication.factor`. @default -1 */
  readonly replicationFactor?: number | undefined
  /** Settings for topics created by `provision`, such as `{ 'min.insync.replicas': '2' }`. @default none */
  readonly topicConfig?: Readonly<Record<string, string>> | undefined
  /**
   * Maximum size of one message and of one batch on the wire, in bytes; must not exceed the topics' `max.message.bytes` (broker
   * default 1 048 588). A larger message fails alone with kind `too_large`. @default 1_000_000
   */
  readonly maxMessageBytes?: number | undefined
  /**
   * Maximum size of any producer's batch after decompression, and of one record, in bytes. A larger batch is not read: its
   * partition is blocked, and the binding reports it. @default 67_108_864 (64 MiB)
   */
  readonly maxBatchBytes?: number | undefined
  /**
   * Compression of written batches. gzip and zstd need nothing, snappy the package `snappyjs`, lz4 `lz4js`. All of them can be
   * read, whatever this option is. @default 'none'
   */
  readonly compression?: Compression | undefined
  /**
   * Names of Kafka groups, by channel and group: with `{ 'orders.placed': { payments: 'payments' } }` the group `payments`
   * continues where the Kafka group `payments` of another program stopped; stop that program first. Each Kafka group is one group
   * of one channel. @default `<group>.<channel>` for each
   */
  readonly groupIds?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
  /**
   * Start of a group that the broker does not know yet, by channel and group: `{ 'orders.placed': { audit: 'latest' } }`. A
   * `Date` means the first record at that time or later. The position is fixed at the group's first start: later messages are
   * read whether or not a member runs. A group with commits continues from these. @default 'earliest' for each
   */
  readonly startAt?: Readonly<Record<string, Readonly<Record<string, 'earliest' | 'latest' | Date>>>> | undefined
  /**
   * True: also writes the types of headers in the format of Spring's binder (`spring_json_header_types`), which otherwise reads
   * them as bytes. Spring's format is always understood. @default false
   */
  readonly springHeaderTypes?: boolean | undefined
  /** Time limit of a connection attempt, in ms. @default 5 s */
  readonly connectTimeoutMs?: number | undefined
  /** Time limit of an administrative request (topics, offsets), in ms. @default 15 s */
  readonly requestTimeoutMs?: number | undefined
  /**
   * After this time without a heartbeat the group gives a member's partitions to others; a killed process keeps them as long. At
   * least the broker's `group.min.session.timeout.ms` (6 s). @default 10 s
   */
  readonly sessionTimeoutMs?: number | undefined
  /** Interval of heartbeats, and so how soon a member notices a rebalance. At most a third of the session. @default 1 s */
  readonly heartbeatIntervalMs?: number | undefined
  /**
   * Time limit of a rebalance. A member finishes its unsettled deliveries for two thirds of it before it gives its partitions up;
   * deliveries still unsettled then are withdrawn and redelivered. @default 30 s
   */
  readonly rebalanceTimeoutMs?: number | undefined
  /**
   * How long the broker may hold an empty fetch, in ms; also the delay before a resumed partition flows again.
   * @default 250 ms
   */
  readonly maxWaitMs?: number | undefined
  /**
   * Longest time that a finished message waits for its offset commit; after a crash messages since the last commit are repeated.
   * @default 200 ms
   */
  readonly commitIntervalMs?: number | undefined
  /**
   * Interval at which a process checks whether messages of its channels are delayed somewhere (a topic `<channel>.delay`), to
   * help to forward them, in ms: their maximum delay after all processes that delayed them have died.
   * @default 10 s
   */
  readonly delayDiscoveryMs?: number | undefined
}

/** Names of these options, for `optionNames`. */
export const COMMON_NAMES = {
  provision: true,
  replicationFactor: true,
  topicConfig: true,
  maxMessageBytes: true,
  maxBatchBytes: true,
  compression: true,
  groupIds: true,
  startAt: true,
  springHeaderTypes: true,
  connectTimeoutMs: true,
  requestTimeoutMs: true,
  sessionTimeoutMs: true,
  heartbeatIntervalMs: true,
  rebalanceTimeoutMs: true,
  maxWaitMs: true,
  commitIntervalMs: true,
  delayDiscoveryMs: true,
} as const satisfies Readonly<Record<keyof KafkaCommonOptions, true>>

/** @throws TypeError */
export function checkCompression(path: string, value: Compression): Compression {
  if (typeof value === 'string' && Object.hasOwn(COMPRESSION_TYPES, value)) return value
  throw invalidOption(`${path}.compression`, value, `one of ${Object.keys(COMPRESSION_TYPES).join(', ')}`)
}
