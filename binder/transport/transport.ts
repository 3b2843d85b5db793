import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'

/**
 * THE CONTRACT between the binder and a broker. An adapter moves bytes and keeps places; what a message means (retry,
 * dead letters, order per key, concurrency, drain, re-subscription with backoff) is the binder's, once for all.
 * `test/conformance/transport.ts` is this page as tests.
 */
export interface Transport {
  /** For logs and errors: `memory`, `kafka`, `rabbitmq`. */
  readonly name: string
  /** Deviations from the common meaning, with the reason; nothing else may differ. */
  readonly features: TransportFeatures
  /** How many `publish` calls may be open at once without changing the order of what they carry. */
  readonly publishConcurrency: number
  /**
   * `publish` calls `until.onOutcome` for each message as soon as its outcome is known, and may be called beyond `publishConcurrency`
   * for destinations that no open call waits for: one that does not answer then holds up no other. @default false
   */
  readonly isolatesDestinations?: boolean | undefined
  /**
   * `publish` waits while a destination is full, until its readers have caught up. Each call is for one destination then,
   * so that what the readers send elsewhere is not held up by what waits for them. @default false
   */
  readonly waitsForRoom?: boolean | undefined
  /**
   * Of messages with one key in one `publish` a later one may be confirmed although an earlier one was not: each is
   * confirmed for itself. @default false: what comes after one that was not confirmed is not confirmed either
   */
  readonly confirmsSingly?: boolean | undefined

  /** The name of the transport on which a destination lies, where one is made of several. @default `name` */
  nameOf?(destination: string): string

  /**
   * The transport on which a destination lies, where one is made of several: what belongs to one of them alone, such as
   * `settlingIn`, is asked of that one. `undefined`: on none. @default this one
   */
  ownerOf?(destination: string): Transport | undefined

  /** Called once by the binder before anything else. Opens nothing yet, never throws. */
  attach(host: TransportHost): void

  /**
   * Makes the destinations and their durable groups exist. Idempotent, safe when several processes do it at once.
   * @throws TransportError, `retryable` while the broker is away, not when an existing destination does not fit
   */
  provision(destinations: readonly DestinationSpec[]): Promise<void>

  /**
   * What `provision` would make of a destination, in the broker's words. Pure, without I/O, also before `attach`. A
   * transport without it has nothing to say about its broker.
   */
  describe?(destination: DestinationSpec): readonly TopologyPart[]

  /**
   * Publishes to provisioned destinations and resolves when the broker has answered for each message: one outcome per
   * message, in the order given, `undefined` = confirmed and durable. Never rejects. Messages of one destination and key
   * keep their order. One bad message does not harm the others. May wait for a reconnect or for room, until `deadline`.
   *
   * A message with a `notBefore` in the future is confirmed when it is stored as durably as any other. Its groups get it
   * not before then by the adapter's clock and soon after, also when the sender has died meanwhile; it has no order
   * with other messages, and may arrive twice after a crash. Its destination was provisioned with `delays`.
   */
  publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]>

  /**
   * Reason to refuse this message, asked in the sender's own context before the message waits for its turn: `publish` is called with the
   * messages of several senders, in the context of none. Cheap, no I/O. @default accepted
   */
  refuses?(message: EncodedMessage): TransportError | undefined

  /**
   * Why the broker will never take this message as it is: too large, or without a form on the wire. `publish` fails it for the same
   * reason. An outbox asks before a transaction commits what could not be sent. Cheap, no I/O. @default nothing is known
   */
  cannotTake?(message: EncodedMessage): TransportError | undefined

  /** Whether its messages lie in this database, so that `publishIn` may be used in its transactions. @default never */
  isOn?(sql: SqlClient): boolean

  /**
   * Publishes in the transaction of the caller: sent if and only if it commits, each once, in the order per key that the
   * caller's transactions have among themselves.
   * @param specOf what a destination is that does not exist yet: it is made. @default such a message is refused
   * @throws TransportError, and what the driver says: the transaction must roll back then
   */
  publishIn?(
    tx: SqlTransaction,
    messages: readonly EncodedMessage[],
    specOf?: (destination: string) => DestinationSpec,
  ): Promise<void>

  /**
   * Transactions in which deliveries of this transport are settled together with what else is done there.
   * @param sql whose transactions; @default the transport's own client
   * @returns `undefined` where its messages do not lie in that database. A transport without it settles by `ack` alone
   */
  settlingIn?(sql?: SqlClient): SettlingTransactions | undefined

  /**
   * Groups of a destination of which a subscription with `settlesIn` was ever made, in whatever process: what is there twice has its
   * effect twice for them. @throws as `lag`. @default none
   */
  settlingGroups?(destination: string): Promise<readonly string[]>

  /**
   * Starts handing deliveries to `receiver`. Resolves once the place in the group is taken, so that an anonymous
   * subscription gets everything published after. A subscription that breaks calls `receiver.lost` once and is then
   * closed; the binder subscribes again.
   * @throws TransportError, `retryable` while the broker is away
   */
  subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription>

  /**
   * How many messages of a destination a durable group has not settled, as the broker sees it just now: what is settled
   * and not committed yet still counts, and on a broker that moves it is past when it arrives.
   * @throws TransportError, `retryable` while the broker is away
   */
  lag?(place: GroupPlace): Promise<number>

  /**
   * Whether any process reads the group and may therefore hold messages that `lag` leaves out. @throws as `lag`
   * @default a transport whose `lag` leaves out held messages cannot tell
   */
  hasReaders?(place: GroupPlace): Promise<boolean>

  /**
   * Whether the broker has this place, with whatever waits in it, due or not. Makes nothing. @default places cannot be looked for
   * @throws TransportError, `retryable` while the broker is away
   */
  hasPlace?(place: GroupPlace): Promise<boolean>

  /**
   * The group's name at the broker when the broker has no position of it, so that `lag` counts everything there is; else `undefined`.
   * @throws as `lag`. @default each group has a position
   */
  withoutPosition?(place: GroupPlace): Promise<string | undefined>

  /**
   * Gives a group without position one: right behind the delivery that had this `position`, by default at the first message. One that has a position keeps it. Resolves
   * false and does nothing while the group has members. A transport with `withoutPosition` has it, and takes `rereads`. @throws as `lag`
   */
  placeBehind?(place: GroupPlace, position: string | undefined): Promise<boolean>

  /** Whether the broker answered last time. Cheap, no I/O. */
  health(): TransportHealth

  /** Closes all connections. Idempotent. The binder has closed every subscription before. Never rejects. */
  close(): Promise<void>
}

/** Transactions that settle deliveries: a place is written if and only if its transaction commits. */
export interface SettlingTransactions {
  /**
   * `transaction` as of the given client. A stopped process blocks others no longer than its lease: then the server ends the transaction. While
   * a commit has no answer, the settled messages are unknown; the deliveries are withdrawn before the error is thrown, and unsettled ones come
   * again.
   */
  readonly sql: SqlClient
  /**
   * Settles these deliveries if `tx` commits. Called once in a transaction of `sql`, as its last statement: from here to the commit nothing else
   * is written in their partitions. `ack` them when it has committed, which frees their room.
   * @throws TransportError when one of them is no longer lent to this process: `tx` has to roll back
   */
  settle(tx: SqlTransaction, deliveries: readonly TransportDelivery[]): Promise<void>
}

/** A transport's host: the binder's name, logger and clock. */
export interface TransportHost {
  readonly service: string
  /** Unique per process: names connections, consumer tags and client ids. */
  readonly instance: string
  readonly logger: Logger
  readonly clock: Clock
}

/** How long `publish` may take. The binder counts the time; a transport counts none of its own. */
export interface PublishUntil {
  /** On `host.clock.monotonic()`. Each message has an outcome soon after. @default none: until it is closed */
  readonly deadline?: number | undefined
  /**
   * Called with a message's place in the list as soon as it has its outcome, at most once each; the list that `publish` resolves with has
   * it too. Only of a transport with `isolatesDestinations`.
   */
  readonly onOutcome?: ((index: number, outcome: PublishOutcome) => void) | undefined
}

/** A destination that shall exist: what `provision` gets. */
export interface DestinationSpec {
  readonly name: string
  readonly partitions: number
  /** Durable groups that must not miss a message from now on. */
  readonly groups: readonly string[]
  /** How long to keep what was read, if the broker does that and has no destination of the name yet. */
  readonly retentionMs?: number | undefined
  /** Messages with a `notBefore` will be published to it: makes what holds them exist, too. @default false */
  readonly delays?: boolean | undefined
  /** The partitions are undeclared (a name that came with a message): an existing destination keeps its own number. */
  readonly assumed?: boolean | undefined
  /** Holds dead letters: has to take every message that the broker has taken before, however large. */
  readonly deadLetters?: boolean | undefined
  /** Dead letters or retries of this channel: they lie where it lies. */
  readonly goesWith?: string | undefined
  /** Two messages with one key both count: a broker must not keep only the last (compaction). */
  readonly keepsEach?: boolean | undefined
  /** Messages come to it by `publishIn` alone, so that none is there twice: the binder publishes none in any other way. */
  readonly transactional?: boolean | undefined
}

/**
 * One thing on the broker that a destination needs.
 * - `log`, `group` (memory), `topic`, `consumer-group` (Kafka), `exchange`, `queue` (RabbitMQ), or a transport's own word
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

/** A consumer's request: destination, group, and limits. */
export interface SubscriptionSpec {
  readonly destination: string
  readonly partitions: number
  /** A durable group, whose members share the partitions, or `null`: every message from now on, nothing durable. */
  readonly group: string | null
  /** The adapter keeps at most this many deliveries unsettled ... */
  readonly prefetch: number
  /** ... and stops fetching while the unsettled bodies exceed this. */
  readonly prefetchBytes: number
  /** Result of `Transport.settlingIn`, if its transactions settle deliveries of this subscription. @default none */
  readonly settlesIn?: SettlingTransactions | undefined
  /** Begins at the first message that there is and leaves the position of `group` as it is: `ack` frees room alone. @default false */
  readonly rereads?: boolean | undefined
}

/** Callbacks for the adapter. All are synchronous and never throw. */
export interface Receiver {
  /** Receives a delivery, in the order of its partition. It may be settled before this returns. */
  deliver(delivery: TransportDelivery): void
  /**
   * The adapter wants back what has not started, e.g. before it gives partitions to another member: every delivery that
   * no handler has begun is released within a turn of the event loop; what runs goes on and its `ack` still counts.
   */
  recall(): void
  /** True while no handler would begin a delivery: the binding is paused, or its circuit is open. @default never */
  isHeld?(): boolean
  /** The subscription is over: connection lost, group left by the broker. All unsettled deliveries come back. */
  lost(error: Error): void
  /**
   * Part of the subscription gets nothing although messages lie there for it; the rest goes on, and so does the
   * subscription. Called with what is worst at each change, with `undefined` when nothing is left of it. A transport that
   * cannot know calls it never.
   */
  stalled?(stall: Stall | undefined): void
  /** The group does not go on where it stood. Called at each such event; a transport that keeps every message never calls it. */
  displaced?(displacement: Displacement): void
}

/** A group begins somewhere else than at the position that it had settled. */
export interface Displacement {
  /** The event and its place, with the remedy. */
  readonly reason: string
  /** Messages that the group will never get. */
  readonly skipped: number
  /** Messages that it gets and may have handled before. */
  readonly repeated: number
  /** Accepted messages are lost: an error, where the rest is a warning. */
  readonly isLoss: boolean
}

/** Why part of a subscription stands still. */
export interface Stall {
  /** The blocked part and the reason, with the remedy. */
  readonly reason: Error
  /** True if the stall ends without action here: the binding stays healthy. */
  readonly isPassing: boolean
}

/** A message lent to this process. Exactly one of `ack` and `release` ends the loan; the later call is ignored. */
export interface TransportDelivery {
  readonly message: EncodedMessage
  /** Where it lies on the broker, for people: `partition 3 offset 42`. */
  readonly position: string
  /** True when the broker says that it was handed out before; `undefined` when it cannot tell. */
  readonly redelivered: boolean | undefined
  /**
   * Aborts when the loan is withdrawn (connection lost, partition moved): `ack` has no effect after, it comes back. What
   * was handed out in order is withdrawn in one turn, as by a signal that it shares: else what lies behind a message
   * that is gone would be handled before it.
   */
  readonly signal: AbortSignal
  /** Settles it permanently. After a crash the broker may still deliver it again. */
  ack(): void
  /** Gives it back unhandled; it comes back later, to this or another member. */
  release(): void
}

/** A consumer's subscription at the broker, from `subscribe` to `close`. */
export interface Subscription {
  /** Stops handing out deliveries but keeps the place in the group. Idempotent. */
  pause(): void
  resume(): void
  /**
   * Stops handing out, flushes what was acked to the broker, gives the place and everything unsettled back. The binder
   * calls it after its drain. Idempotent, never rejects.
   */
  close(): Promise<void>
}

/** `undefined`: confirmed. */
export type PublishOutcome = TransportError | undefined

/** Whether the broker can be reached: `idle` when it was not needed yet. */
export interface TransportHealth {
  readonly status: 'up' | 'down' | 'idle'
  readonly detail?: string | undefined
}

/** `true`, or why this broker cannot. */
export type Feature = true | { readonly missing: string }

/** Features of the broker. The conformance suite tests those that are `true`; the others name a reason. */
export interface TransportFeatures {
  /** A durable group that never existed gets what was sent before it. */
  readonly newGroupStartsAtEarliest: Feature
  /** `redelivered` is known. */
  readonly redeliveredFlag: Feature
  /** Messages survive the death of the sending process. */
  readonly durable: Feature
  /** A message that no group will ever get is refused. */
  readonly refusesUnroutable: Feature
  /** A message with a `notBefore` becomes due while no process of ours runs. */
  readonly delaysByItself: Feature
  /** `lag` counts everything that the group has not settled, in whatever process it is. */
  readonly tellsWholeLag: Feature
}
