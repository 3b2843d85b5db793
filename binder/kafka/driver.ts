/**
 * What the Kafka adapter (`wire/`, `group/`, `delays/`, topics, publishing) needs of a client library. A library is supported by
 * a folder that implements `KafkaDriver`, such as `kafkajs/`; nothing outside of that folder depends on it.
 *
 * Drivers reject with a `TransportError`. Inside `AdminLink.use` they reject with an error that has the protocol's name of the
 * failure (`TOPIC_ALREADY_EXISTS`) as its `type`, or contains one that has it in `cause` or `errors`: see `errors.ts`. Offsets of
 * single records may be text or bigint, as in the library; all others are numbers, exact up to 2^53.
 */
import type { Receiver, Subscription, TransportHost } from '../transport/transport.ts'
import type { SettledOffsets } from './group/settled-uncommitted-offsets.ts'

export interface KafkaDriver {
  /** Called once, before all other functions. Makes no connection. */
  attach(host: TransportHost): DriverLink
}

/** The connections of one transport. */
export interface DriverLink {
  readonly admin: AdminLink
  /** Creates a producer with its own connection, which is made when it is first needed. */
  openProducer(): Producer
  /** Creates a member that has not joined yet: `open` joins. */
  createMember(spec: MemberSpec, receiver: Receiver, events: MemberEvents): Member
}

// ---- producing

/** A message to send. */
export interface OutgoingRecord {
  key: string | Buffer | null
  value: Buffer | null
  headers: Record<string, Buffer | string>
}

/** A record with its partition, which is the same in every attempt. */
export interface Envelope extends OutgoingRecord {
  readonly topic: string
  readonly bytes: number
  /** Position in the list that is being published. */
  readonly index: number
  /** Partition; `undefined` until it is decided: a key goes to the Java client's partition, records without one take turns. */
  place: number | undefined
}

export interface Producer {
  /**
   * True: `send` puts the records of many topics into one request for each broker. Otherwise each call has the records of one
   * topic.
   */
  readonly joinsTopics: boolean
  /**
   * Sends with acks from all in-sync replicas, retried at the driver's discretion within `durationMs`; one call at a time for a
   * topic, any number for different ones. The records of a partition keep their order and are stored once, regardless of retries.
   * Resolves with the records that the broker did not confirm. After a rejection nothing more of it is sent, but requests in
   * flight may still arrive.
   * @param onConfirmed called for each record as soon as it is confirmed, because one topic may take longer than others
   * @throws TransportError
   */
  send(
    envelopes: readonly Envelope[],
    durationMs: number,
    onConfirmed?: (envelope: Envelope) => void,
  ): Promise<readonly Envelope[]>
  /** Closes it. Idempotent, bounded in time, never rejects. */
  close(): Promise<void>
}

// ---- consuming

/** A received message. */
export interface IncomingRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Epoch ms. */
  readonly timestamp: string | bigint | number
  readonly offset: string | bigint | number
  readonly headers?: Readonly<Record<string, IncomingHeader>>
  /** Size with key and headers. @default size of its value */
  readonly bytes?: number
}

export type IncomingHeader = Buffer | string | ReadonlyArray<Buffer | string> | undefined

/** Records of a partition in one fetch, without control records and aborted ones. */
export interface FetchedBatch {
  readonly partition: number
  readonly messages: readonly IncomingRecord[]
  /** Offset at which the fetch began. */
  readonly fetchedOffset?: unknown
  /** Offset of the last record, including skipped ones. */
  lastOffset(): string | bigint | number
}

export interface MemberSpec {
  readonly topic: string
  readonly groupId: string
  /** Number of partitions of the topic. */
  readonly partitions: number
  readonly prefetch: number
  readonly prefetchBytes: number
  /** Start offsets by partition, for a group that commits nothing; `undefined` for a durable group. */
  readonly startAt: ReadonlyMap<number, number> | undefined
  /** True: each partition has its own share of `prefetch` and `prefetchBytes`, however long the others hold theirs. */
  readonly evenShares?: boolean | undefined
  /** Offsets of the group that this process has settled but not committed; shared by consecutive members. */
  readonly settled?: SettledOffsets | undefined
}

export interface MemberEvents {
  /** The broker answered, or failed to. */
  onAnswer(error?: unknown): void
  /** The member has left permanently. Never rejects. */
  onEnd(): Promise<void>
}

/** A place in a Kafka group. Before it gives partitions up, their deliveries are recalled, settled and committed. */
export interface Member extends Subscription {
  /** Resolves once it has joined the group. @throws TransportError */
  open(): Promise<void>
  /** Ends it if necessary; resolves when the driver has finished, or has taken too long. Never rejects. */
  ended(): Promise<void>
}

// ---- administration

/** An administrative connection, made when it is first needed and again after a failure. Every call is bounded in time. */
export interface AdminLink {
  /** @param attempted action for the error: `creating topics` @throws TransportError */
  use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T>
  close(): Promise<void>
}

export interface Admin {
  listTopics(): Promise<readonly string[]>
  /** Creates topics. Also resolves when others have created all of them first. */
  createTopics(topics: readonly NewTopic[], timeoutMs: number): Promise<void>
  /** Returns the partitions of each topic, without topics that the broker does not know. */
  partitionsOf(topics: readonly string[]): Promise<ReadonlyMap<string, TopicPartitions>>
  /** Returns the settings that apply to each topic, its own and the broker's. @throws also when one of them may not be read */
  configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>
  /** Returns the first offset of each partition and the one after its last record, whether its transaction is open or not. */
  ranges(topic: string): Promise<readonly PartitionRange[]>
  /** Returns by partition the first record at this time (epoch ms) or later, or the end. */
  offsetsAt(topic: string, time: number): Promise<ReadonlyMap<number, number>>
  /** Returns committed offsets by partition, without partitions in which the group has committed nothing. */
  committed(groupId: string, topic: string): Promise<ReadonlyMap<number, number>>
  /** Commits for a group without members. Resolves with false, without an effect, if it has members. */
  place(groupId: string, topic: string, positions: ReadonlyMap<number, number>): Promise<boolean>
  deleteGroup(groupId: string): Promise<void>
}

export interface TopicPartitions {
  readonly count: number
  /** True if each partition has a leader. */
  readonly isLed: boolean
}

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  /** Number of replicas; -1: the broker's default. */
  readonly replicationFactor: number
  readonly config: Readonly<Record<string, string>>
}

export interface PartitionRange {
  readonly partition: number
  readonly low: number
  readonly high: number
}
