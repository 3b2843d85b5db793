import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'

/**
 * The contract between the binder and a broker. An adapter moves bytes and keeps positions; the meaning of messages (retry, dead
 * letters, order per key, concurrency, drain, re-subscription with backoff) is implemented once, in the binder.
 * `test/conformance/transport.ts` tests this contract.
 */
export interface Transport {
  /** For logs and errors: `memory`, `kafka`, `rabbitmq`. */
  readonly name: string
  /** Deviations from the common behaviour, with reasons; nothing else may differ. */
  readonly features: TransportFeatures
  /** Number of `publish` calls that may be open at once without changing the order of their messages. */
  readonly publishConcurrency: number
  /**
   * True: `publish` calls `until.onOutcome` for each message as soon as its outcome is known, and may be called beyond
   * `publishConcurrency` for destinations that no open call waits for, so a destination that does not answer does not block
   * others. @default false
   */
  readonly isolatesDestinations?: boolean | undefined
  /**
   * True: `publish` waits while a destination is full, until its readers have caught up. Each call is then for one destination,
   * so that messages which the readers send elsewhere are not blocked by those that wait for the readers. @default false
   */
  readonly waitsForRoom?: boolean | undefined
  /**
   * True: in one `publish`, a later message with a key may be confirmed although an earlier one was not, because each is
   * confirmed separately. @default false: messages after an unconfirmed one are not confirmed either
   */
  readonly confirmsSingly?: boolean | undefined

  /** Returns the name of a destination's transport, if this one combines several. @default `name` */
  nameOf?(destination: string): string

  /**
   * Returns the transport of a destination, if this one combines several. Functions that concern only one of them, such as
   * `settlingIn`, are called on it. `undefined`: none. @default this one
   */
  ownerOf?(destination: string): Transport | undefined

  /** Called once by the binder before anything else. Opens nothing yet, never throws. */
  attach(host: TransportHost): void

  /**
   * Creates the destinations and their durable groups. Idempotent, safe when several processes do it at once.
   * @throws TransportError, `retryable` while the broker is unavailable, but not when an existing destination does not fit
   */
  provision(destinations: readonly DestinationSpec[]): Promise<void>

  /**
   * Returns the broker objects that `provision` would create for a destination. Pure, without I/O, also before `attach`. Absent:
   * the transport has nothing to describe.
   */
  describe?(destination: DestinationSpec): readonly TopologyPart[]

  /**
   * Publishes to provisioned destinations and resolves when the broker has answered for each message: one outcome per message, in
   * the given order, `undefined` = confirmed and durable. Never rejects. Messages with one destination and key keep their order.
   * A bad message does not affect the others. May wait for a reconnect or for capacity, until `deadline`.
   *
   * A message with a `notBefore` in the future is confirmed when it is stored as durably as any other. Its groups receive it soon
   * after that time by the adapter's clock, even if the sender has died; it has no order relative to other messages, and may
   * arrive twice after a crash. Its destination was provisioned with `delays`.
   */
  publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]>

  /**
   * Returns a reason to refuse this message, called in the sender's own context before the message queues, because `publish` is
   * called with the messages of several senders, outside of their contexts. Cheap, no I/O. @default accepted
   */
  refuses?(message: EncodedMessage): TransportError | undefined

  /**
   * Returns why the broker can never take this message: too large, or without a form on the wire. `publish` fails it for the same
   * reason. An outbox calls this before a transaction commits a message that cannot be sent. Cheap, no I/O. @default nothing is
   * known
   */
  cannotTake?(message: EncodedMessage): TransportError | undefined

  /** Tells whether its messages are in this database, so that `publishIn` may be used in its transactions. @default never */
  isOn?(sql: SqlClient): boolean

  /**
   * Publishes in the caller's transaction: sent if and only if it commits, each once, in the order per key of the caller's
   * transactions.
   * @param specOf spec of a destination that does not exist yet, to create it. @default such a message is refused
   * @throws TransportError, and errors of the driver: the transaction must roll back then
   */
  publishIn?(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<void>

  /**
   * Returns transactions in which deliveries of this transport are settled together with other statements.
   * @param sql client of the transactions; @default the transport's own client
   * @returns `undefined` if its messages are not in that database. Absent: the transport settles by `ack` alone
   */
  settlingIn?(sql?: SqlClient): SettlingTransactions | undefined

  /**
   * Returns the groups of a destination for which any process has ever made a subscription with `settlesIn`: a message stored
   * twice has its effect twice for them. @throws the errors of `lag`. @default none
   */
  settlingGroups?(destination: string): Promise<readonly string[]>

  /**
   * Starts to pass deliveries to `receiver`. Resolves once the group was joined, so that an anonymous subscription receives
   * everything published afterwards. A broken subscription calls `receiver.lost` once and is then closed; the binder subscribes
   * again.
   * @throws TransportError, `retryable` while the broker is unavailable
   */
  subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription>

  /**
   * Returns how many messages of a destination a durable group has not settled, as the broker sees it now: messages settled but
   * not committed yet still count, and on a busy broker the number is outdated when it arrives.
   * @throws TransportError, `retryable` while the broker is unavailable
   */
  lag?(place: GroupPlace): Promise<number>

  /**
   * Tells whether any process reads the group and may therefore hold messages that `lag` omits. @throws the errors of `lag`
   * @default unknown, for a transport whose `lag` omits held messages
   */
  hasReaders?(place: GroupPlace): Promise<boolean>

  /**
   * Tells whether the broker has this place, whether its messages are due or not. Creates nothing. @default places cannot be
   * looked up
   * @throws TransportError, `retryable` while the broker is unavailable
   */
  hasPlace?(place: GroupPlace): Promise<boolean>

  /**
   * Returns the group's name at the broker if the broker has no position of it, so that `lag` counts all messages; else
   * `undefined`.
   * @throws the errors of `lag`. @default each group has a position
   */
  withoutPosition?(place: GroupPlace): Promise<string | undefined>

  /**
   * Sets the position of a group without one: right behind the delivery with this `position`, by default at the first message. A
   * group with a position keeps it. Resolves with false, without an effect, while the group has members. Required with
   * `withoutPosition`, together with `rereads`. @throws the errors of `lag`
   */
  placeBehind?(place: GroupPlace, position: string | undefined): Promise<boolean>

  /** Tells whether the broker answered the last time. Cheap, no I/O. */
  health(): TransportHealth

  /** Closes all connections. Idempotent. The binder has closed every subscription before. Never rejects. */
  close(): Promise<void>
}

/** Transactions that settle deliveries: a position is written if and only if its transaction commits. */
export interface SettlingTransactions {
  /**
   * The given client with a `transaction` of its own. A stopped process blocks others no longer than its lease: then the server
   * ends the transaction. While a commit has no answer, it is unknown whether its messages are settled; the deliveries are
   * withdrawn before the error is thrown, and unsettled ones are redelivered.
   */
  readonly sql: SqlClient
  /**
   * Settles these deliveries if `tx` commits. Called once in a transaction of `sql`, as its last statement: until the commit
   * nothing else is written in their partitions. Call `ack` on them after the commit, which frees their capacity.
   * @throws TransportError when one of them is no longer lent to this process: `tx` has to roll back
   */
  settle(tx: SqlTransaction, deliveries: readonly TransportDelivery[]): Promise<void>
}

/** Host of a transport: the binder's name, logger and clock. */
export interface TransportHost {
  readonly service: string
  /** Unique per process: names connections, consumer tags and client ids. */
  readonly instance: string
  readonly logger: Logger
  readonly clock: Clock
}

/** Time limit of `publish`. The binder sets the deadline; a transport has none of its own. */
export interface PublishUntil {
  /** Deadline by `host.clock.monotonic()`. Each message has an outcome soon after. @default none: until it is closed */
  readonly deadline?: number | undefined
  /**
   * Called with a message's index in the list as soon as it has its outcome, at most once each; the result of `publish` contains
   * it, too. Only for a transport with `isolatesDestinations`.
   */
  readonly onOutcome?: ((index: number, outcome: PublishOutcome) => void) | undefined
}

/** A required destination, the argument of `provision`. */
export interface DestinationSpec {
  readonly name: string
  readonly partitions: number
  /** Durable groups that must not miss a message from now on. */
  readonly groups: readonly string[]
  /** How long messages are kept after they were read, if the broker does that and does not have the destination yet. */
  readonly retentionMs?: number | undefined
  /** True: messages with a `notBefore` will be published to it, so the objects that hold them are created, too. @default false */
  readonly delays?: boolean | undefined
  /** True: the partitions are undeclared (the name came with a message): an existing destination keeps its own number. */
  readonly assumed?: boolean | undefined
  /**
   * True: another program declared it, with settings that the caller does not know. `provision: 'check'` compares the number of
   * partitions alone. @default all that the broker shows is compared
   */
  readonly asFound?: boolean | undefined
  /** True: contains dead letters, and has to accept every message that the broker has accepted before, however large. */
  readonly deadLetters?: boolean | undefined
  /** Channel whose dead letters or retries these are, and whose transport they share. */
  readonly goesWith?: string | undefined
  /** True: two messages with one key both count, so a broker must not keep only the last (compaction). */
  readonly keepsEach?: boolean | undefined
  /** True: it receives messages only by `publishIn`, so that none is stored twice; the binder publishes in no other way. */
  readonly transactional?: boolean | undefined
}

/**
 * One object on the broker that a destination needs.
 * - `log`, `group` (memory), `topic`, `consumer-group` (Kafka), `exchange`, `queue` (RabbitMQ), or a transport's own kind
 */
export interface TopologyPart {
  readonly kind: string
  readonly name: string
  /** Its declared settings, e.g. `{ partitions: 4 }`; without those that the broker decides. */
  readonly details: Readonly<Record<string, string | number | boolean>>
}

/** A durable group of a destination. */
export interface GroupPlace {
  readonly destination: string
  readonly partitions: number
  readonly group: string
}

/** Subscription of a consumer: destination, group, and limits. */
export interface SubscriptionSpec {
  readonly destination: string
  readonly partitions: number
  /** A durable group, whose members share the partitions, or `null`: every message from now on, nothing durable. */
  readonly group: string | null
  /** Maximum number of unsettled deliveries. */
  readonly prefetch: number
  /** Size of unsettled bodies at which the adapter stops fetching, in bytes. */
  readonly prefetchBytes: number
  /** Result of `Transport.settlingIn`, if its transactions settle deliveries of this subscription. @default none */
  readonly settlesIn?: SettlingTransactions | undefined
  /** True: begins at the first message and leaves the position of `group` unchanged: `ack` only frees capacity. @default false */
  readonly rereads?: boolean | undefined
}

/** Callbacks for the adapter. All are synchronous and never throw. */
export interface Receiver {
  /** Receives a delivery, in the order of its partition. It may be settled before this returns. */
  deliver(delivery: TransportDelivery): void
  /**
   * Requests messages that have not started, e.g. before the adapter gives partitions to another member: every delivery that no
   * handler has begun is released within a turn of the event loop; running handlers continue, and their `ack` still counts.
   */
  recall(): void
  /** Tells whether no handler would begin a delivery: the binding is paused, or its circuit is open. @default never */
  isHeld?(): boolean
  /** The subscription has ended: connection lost, or member removed by the broker. All unsettled deliveries are redelivered. */
  lost(error: Error): void
  /**
   * Part of the subscription receives nothing although there are messages for it; the rest, and the subscription, continue.
   * Called with the worst reason at each change, with `undefined` when none remains. A transport that cannot know this never
   * calls it.
   */
  stalled?(stall: Stall | undefined): void
  /**
   * The group does not continue at its position. Called at each such event; a transport that keeps every message never calls it.
   */
  displaced?(displacement: Displacement): void
}

/** A group begins somewhere else than at its settled position. */
export interface Displacement {
  /** Description of the event, with its place and the remedy. */
  readonly reason: string
  /** Number of messages that the group will never receive. */
  readonly skipped: number
  /** Number of redelivered messages that it may have handled before. */
  readonly repeated: number
  /** True if accepted messages are lost, which is logged as an error instead of a warning. */
  readonly isLoss: boolean
}

/** Reason why part of a subscription is blocked. */
export interface Stall {
  /** The blocked part and the reason, with the remedy. */
  readonly reason: Error
  /** True if the stall ends without an operator: the binding stays healthy. */
  readonly isPassing: boolean
}

/** A message lent to this process. Either `ack` or `release` ends the loan, once; later calls are ignored. */
export interface TransportDelivery {
  readonly message: EncodedMessage
  /** Position on the broker, for display: `partition 3 offset 42`. */
  readonly position: string
  /** True if the broker reports a redelivery; `undefined` if it cannot tell. */
  readonly redelivered: boolean | undefined
  /**
   * Aborts when the loan is withdrawn (connection lost, partition moved): `ack` has no effect afterwards, and the message is
   * redelivered. Deliveries made in order are withdrawn in one turn, for example by a shared signal: otherwise a message behind a
   * withdrawn one would be handled before it.
   */
  readonly signal: AbortSignal
  /** Settles it permanently. After a crash the broker may still redeliver it. */
  ack(): void
  /** Gives it back unhandled; it is redelivered later, to this or another member. */
  release(): void
}

/** A consumer's subscription at the broker, from `subscribe` to `close`. */
export interface Subscription {
  /** Stops deliveries but keeps the place in the group. Idempotent. */
  pause(): void
  resume(): void
  /**
   * For brokers that store one position per partition: they would deliver handled messages again if an earlier message was not
   * handled. Delivers the released messages below handled ones, even while paused. The binder calls it during its drain, when
   * no handler is running. Resolves when these messages are settled or released, or soon after `over` aborts. Never rejects.
   */
  finishGaps?(over: AbortSignal): Promise<void>
  /**
   * Stops deliveries, sends pending acks to the broker, leaves the group and gives back all unsettled messages. The binder calls
   * it after its drain. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** Outcome of a message; `undefined`: confirmed. */
export type PublishOutcome = TransportError | undefined

/** Whether the broker can be reached: `idle` when it was not needed yet. */
export interface TransportHealth {
  readonly status: 'up' | 'down' | 'idle'
  readonly detail?: string | undefined
}

/** `true`, or the reason why this broker lacks the feature. */
export type Feature = true | { readonly missing: string }

/** Features of the broker. The conformance suite tests those that are `true`; the others have a reason. */
export interface TransportFeatures {
  /** A new durable group receives messages sent before it existed. */
  readonly newGroupStartsAtEarliest: Feature
  /** `redelivered` is known. */
  readonly redeliveredFlag: Feature
  /** Messages survive the death of the sending process. */
  readonly durable: Feature
  /** A message that no group will ever get is refused. */
  readonly refusesUnroutable: Feature
  /** A message with a `notBefore` becomes due even while no process of the service runs. */
  readonly delaysByItself: Feature
  /** `lag` counts all messages that the group has not settled, in any process. */
  readonly tellsWholeLag: Feature
}
