import { invalidOption } from '../../core/errors.ts'
import type { ProvisionMode } from '../transport/provision-mode.ts'
import { COMPRESSION_TYPES, type Compression } from './wire/compression-codecs.ts'

/** Options of `kafkaTransport` and of `platformaticTransport`: the same with every client library. */
export interface KafkaCommonOptions {
  /**
   * Whether the topics of the declared channels are made (`create`), only compared (`check`: one error names all that is
   * missing or differs) or not looked at (`none`). @default 'create'
   */
  readonly provision?: ProvisionMode | undefined
  /** Copies of each topic made by `provision`; -1 is the broker's `default.replication.factor`. @default -1 */
  readonly replicationFactor?: number | undefined
  /** Topic settings for topics made by `provision`, such as `{ 'min.insync.replicas': '2' }`. @default none */
  readonly topicConfig?: Readonly<Record<string, string>> | undefined
  /**
   * The most bytes of one message and of one batch on the wire; must not exceed the topics' `max.message.bytes` (broker
   * default 1 048 588). A larger message fails alone with kind `too_large`. @default 1_000_000
   */
  readonly maxMessageBytes?: number | undefined
  /**
   * The most bytes that a compressed batch of any producer may become when it is read, and that one record may take. A batch
   * beyond it is not read: its partition stands still, and the binding says so. @default 67_108_864 (64 MiB)
   */
  readonly maxBatchBytes?: number | undefined
  /**
   * How batches are written. gzip and zstd need nothing, snappy the package `snappyjs`, lz4 `lz4js`. All of them are read,
   * whatever is said here. @default 'none'
   */
  readonly compression?: Compression | undefined
  /**
   * Kafka groups with names of their own, by channel and group: `{ 'orders.placed': { payments: 'payments' } }` lets the group
   * `payments` go on where the Kafka group `payments` of another program stands, which has to be stopped first. Each Kafka
   * group is one group of one channel. @default `<group>.<channel>` for each
   */
  readonly groupIds?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
  /**
   * Where a group begins that the broker does not know yet, by channel and group: `{ 'orders.placed': { audit: 'latest' } }`. A
   * `Date` is the first record of that time or later. It is fixed at the group's first start: what is sent after that is
   * read, whether or not a member runs. A group that has committed goes on from there. @default 'earliest' for each
   */
  readonly startAt?: Readonly<Record<string, Readonly<Record<string, 'earliest' | 'latest' | Date>>>> | undefined
  /**
   * True: the types of headers are written in the words of Spring's binder too (`spring_json_header_types`), for which they are
   * bytes otherwise. Spring's are read in any case. @default false
   */
  readonly springHeaderTypes?: boolean | undefined
  /** How long a connection may take, in ms. @default 5 s */
  readonly connectTimeoutMs?: number | undefined
  /** How long an administrative request (topics, offsets) may take, in ms. @default 15 s */
  readonly requestTimeoutMs?: number | undefined
  /**
   * Without a heartbeat for this long the group gives a member's partitions to others: the time a killed process keeps
   * them. At least the broker's `group.min.session.timeout.ms` (6 s). @default 10 s
   */
  readonly sessionTimeoutMs?: number | undefined
  /** Pause between heartbeats; also how soon a member hears of a rebalance. At most a third of the session. @default 1 s */
  readonly heartbeatIntervalMs?: number | undefined
  /**
   * How long a rebalance may take. A member finishes its unsettled deliveries for two thirds of it before it gives its
   * partitions up; what is still unsettled then is withdrawn and comes back. @default 30 s
   */
  readonly rebalanceTimeoutMs?: number | undefined
  /**
   * How long the broker may hold an empty fetch, in ms: also the delay before a resumed partition flows again.
   * @default 250 ms
   */
  readonly maxWaitMs?: number | undefined
  /** Longest time a finished message waits for its offset commit: what a crash repeats. @default 200 ms */
  readonly commitIntervalMs?: number | undefined
  /**
   * How often a process looks whether messages of the channels it uses are delayed somewhere (a topic
   * `<channel>.delay`), to help to forward them, in ms: how late they can be when everyone who delayed some is gone.
   * @default 10 s
   */
  readonly delayDiscoveryMs?: number | undefined
}

/** For `optionNames`. */
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
