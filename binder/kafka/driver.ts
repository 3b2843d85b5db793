/**
 * What Kafka's part of the adapter (`wire/`, `group/`, `delays/`, topics, publishing) needs of a client library. A library
 * is a folder that implements `KafkaDriver`, as `kafkajs/` does, and nothing outside of that folder changes for it.
 *
 * What a driver rejects with is a `TransportError`. Inside `AdminLink.use` it is an error that has the protocol's name of
 * what went wrong (`TOPIC_ALREADY_EXISTS`) as its `type`, or has one that does in `cause` or `errors`: see `errors.ts`.
 * Offsets of single records may be text or bigint too, as the library has them; all others are numbers, exact up to 2^53.
 */
import type { Receiver, Subscription, TransportHost } from '../transport/transport.ts'
import type { SettledOffsets } from './group/settled-uncommitted-offsets.ts'

export interface KafkaDriver {
  /** Called once, before all else. Makes no connection. */
  attach(host: TransportHost): DriverLink
}

/** The connections of one transport. */
export interface DriverLink {
  readonly admin: AdminLink
  /** A producer with a connection of its own, which is made when it is first needed. */
  openProducer(): Producer
  /** A member that has not joined yet: `open` joins. */
  createMember(spec: MemberSpec, receiver: Receiver, events: MemberEvents): Member
}

// ---- producing

/** A message on its way to the wire. */
export interface OutgoingRecord {
  key: string | Buffer | null
  value: Buffer | null
  headers: Record<string, Buffer | string>
}

/** A record with the partition it was given, which is the same in every attempt. */
export interface Envelope extends OutgoingRecord {
  readonly topic: string
  readonly bytes: number
  /** Its place in the list that is being published. */
  readonly index: number
  /** `undefined` until it is decided: a key goes where the Java client puts it, records without one take turns. */
  place: number | undefined
}

export interface Producer {
  /** `send` puts the records of many topics into one request for each broker. Otherwise each call has the records of one topic. */
  readonly joinsTopics: boolean
  /**
   * Sends with acks from all in-sync replicas, retried at the driver's discretion within `durationMs`; one call at a time for a topic,
   * any number for different ones. The records of a partition keep their order and are stored once, whatever is retried. Resolves with those that the broker did not confirm.
   * After a rejection nothing more of it is sent, but requests on the wire may still arrive.
   * @param onConfirmed called for each as soon as it is known: one topic may take long, and the others may not
   * @throws TransportError
   */
  send(
    envelopes: readonly Envelope[],
    durationMs: number,
    onConfirmed?: (envelope: Envelope) => void,
  ): Promise<readonly Envelope[]>
  /** Idempotent, bounded in time, never rejects. */
  close(): Promise<void>
}

// ---- consuming

/** A message as it came from the wire. */
export interface IncomingRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Epoch ms. */
  readonly timestamp: string | bigint | number
  readonly offset: string | bigint | number
  readonly headers?: Readonly<Record<string, IncomingHeader>>
  /** Size with key and headers. @default the bytes of its value */
  readonly bytes?: number
}

export type IncomingHeader = Buffer | string | ReadonlyArray<Buffer | string> | undefined

/** Records of a partition in one fetch, without control records and aborted ones. */
export interface FetchedBatch {
  readonly partition: number
  readonly messages: readonly IncomingRecord[]
  /** Where the fetch began. */
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
  /** Where to begin, by partition, for a group that commits nothing; `undefined` for a durable group. */
  readonly startAt: ReadonlyMap<number, number> | undefined
  /** Each partition has its own share of `prefetch` and `prefetchBytes`, however long the others hold theirs. */
  readonly evenShares?: boolean | undefined
  /** Offsets of the group that this process has settled and not committed; shared by consecutive members. */
  readonly settled?: SettledOffsets | undefined
}

export interface MemberEvents {
  /** The broker answered, or did not. */
  onAnswer(error?: unknown): void
  /** The member has left permanently. Never rejects. */
  onEnd(): Promise<void>
}

/** A place in a Kafka group. Before it gives partitions up, what is lent of them is recalled, settled and committed. */
export interface Member extends Subscription {
  /** Resolves once the place in the group is taken. @throws TransportError */
  open(): Promise<void>
  /** Ends it if need be; resolves when the driver has let go, or has taken too long. Never rejects. */
  ended(): Promise<void>
}

// ---- administration

/** An administrative connection, made when it is first needed and again after a failure. Every call is bounded in time. */
export interface AdminLink {
  /** @param attempted what is done, for the error: `creating topics` @throws TransportError */
  use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T>
  close(): Promise<void>
}

export interface Admin {
  listTopics(): Promise<readonly string[]>
  /** Resolves too when others were faster for all of them. */
  createTopics(topics: readonly NewTopic[], timeoutMs: number): Promise<void>
  /** Partitions of each topic, without topics that the broker does not know. */
  partitionsOf(topics: readonly string[]): Promise<ReadonlyMap<string, TopicPartitions>>
  /** Settings that apply to each topic, its own and the broker's. @throws also when one of them may not be read */
  configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>
  /** The first offset of each partition and the one after its last record, be its transaction open or not. */
  ranges(topic: string): Promise<readonly PartitionRange[]>
  /** By partition the first record of that time (epoch ms) or later, or the end. */
  offsetsAt(topic: string, time: number): Promise<ReadonlyMap<number, number>>
  /** By partition, without those in which the group has committed nothing. */
  committed(groupId: string, topic: string): Promise<ReadonlyMap<number, number>>
  /** Commits for a group without members. Resolves false, and does nothing, when it has some. */
  place(groupId: string, topic: string, positions: ReadonlyMap<number, number>): Promise<boolean>
  deleteGroup(groupId: string): Promise<void>
}

export interface TopicPartitions {
  readonly count: number
  /** Each partition has a leader. */
  readonly isLed: boolean
}

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  /** -1: what the broker has as its default. */
  readonly replicationFactor: number
  readonly config: Readonly<Record<string, string>>
}

export interface PartitionRange {
  readonly partition: number
  readonly low: number
  readonly high: number
}
