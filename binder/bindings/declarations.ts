/** Declarations as data: the results of sink(), processor(), source() and similar functions. */

import type { BackoffOptions } from '../../core/backoff.ts'
import type { SqlPart } from '../../core/migrate.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { Telemetry } from '../../core/telemetry-interface.ts'
import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { SendOptions } from '../channel/message-codec.ts'
import type { BatchMiddleware } from '../middleware/batch-middleware.ts'
import type { Middleware } from '../middleware/middleware.ts'
import type { Answer, AnswerHost } from '../requests/failed-request-answer.ts'
import type { BatchLimits, CircuitBreakerOptions, RateLimitOptions } from './batch-rate-breaker-options.ts'
import type { Named } from './binding-name-types.ts'
import type {
  BatchHandler,
  BatchTransactionContext,
  Handler,
  HandlerContext,
  SourceContext,
  TransactionContext,
} from './handler-types.ts'
import type { Inbox } from './inbox.ts'
import type { PipelinePart } from './pipeline-description.ts'

/** Parts that a service adds to declarations. */
export interface ServiceParts {
  readonly sql: SqlClient
  readonly schema: string
  readonly inbox: Inbox
  readonly outbox: {
    ready?(): Promise<void>
    add<In, Out>(
      tx: SqlTransaction,
      channel: Channel<In, Out>,
      payload: In,
      options?: SendOptions,
    ): Promise<{ readonly id: string }>
  }
  readonly telemetry: Telemetry | undefined
}

/** Completes a declaration. */
export type Completion = (parts: ServiceParts) => ConsumerBinding

/** Fields of a declaration that is part of a larger one. */
interface Belonging {
  /** Set if it works in a service only: returns the binding to run. */
  readonly complete?: Completion | undefined
  /** Same as `Inbox.ready`, for requirements of the handler besides an inbox. */
  readonly ready?: (() => Promise<void>) | undefined
  /** Tables that it needs in the service's schema; the service creates them. */
  readonly tables?: SqlPart | undefined
  /** For a pipeline: its description. */
  readonly pipeline?: PipelinePart | undefined
}

/** Options of consumers: `sink`, `processor` and `route`. */
export interface ConsumerOptions {
  /** Durable group whose members share the work. Without a group each instance receives every new message. */
  readonly group?: string | undefined
  /** The binding's name in logs, health and control. @default `<channel>.<group>` */
  readonly name?: string | undefined
  /** Maximum number of concurrent handler calls in this process; messages with one key are never handled at once. @default 1 */
  readonly concurrency?: number | undefined
  /** Maximum number of handler calls per message, including the first. @default 3 */
  readonly maxAttempts?: number | undefined
  /** Pauses between attempts. @default 1 s, doubled, at most 10 s, 20 % jitter */
  readonly backoff?: BackoffOptions | undefined
  /**
   * Where a message waits for its next attempt. `blocking`: in its place, which keeps the order of its key and delays later
   * messages. `delayed`: the group receives a copy after the pause; later messages continue, order is not kept, and attempts are
   * counted across crashes. Needs a group. @default 'blocking'
   */
  readonly retry?: 'blocking' | 'delayed' | undefined
  /** Tells which errors deserve another attempt. @default all but those with `retryable === false` */
  readonly retryable?: ((error: Error) => boolean) | undefined
  /**
   * Handling of a message that failed permanently: `dead-letter` sends it to `<channel>.<group>.dlq`, `drop` logs and forgets it,
   * `halt` pauses the binding with the message unsettled and reports it as unhealthy. @default 'dead-letter' for a group, 'drop'
   * for an anonymous subscription
   */
  readonly onFailure?: 'dead-letter' | 'drop' | 'halt' | undefined
  /** Maximum number of deliveries held in this process. @default 200 */
  readonly prefetch?: number | undefined
  /** Approximate maximum size of payloads held in this process, in bytes. @default 16 MiB */
  readonly prefetchBytes?: number | undefined
  /** Maximum number of messages that begin per second in this process. The others wait; nothing is lost. @default no limit */
  readonly rateLimit?: RateLimitOptions | undefined
  /**
   * A handler call that runs for longer than this, in ms, makes the binder's health `degraded`, raises the metric
   * `concordat.binding.slow` and is reported by `npx concordat doctor`. It does not end the call; use the middleware `timeout`
   * for that. Raise it for slow handlers: with an inbox, the server ends a transaction that sends no statement for twice as long,
   * at least a minute. @default 30 s
   */
  readonly slowAfterMs?: number | undefined
  /** Pauses the binding after too many failed handler calls. @default none */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined
  /** False: the binding is `stopped` until `binding(name).start()`, and counts as healthy. @default true */
  readonly autoStart?: boolean | undefined
  /** Middleware around each call of the handler, the first outermost, inside the binder's middleware. @default none */
  readonly middleware?: readonly Middleware[] | undefined
}

/** Ways to apply an effect once; a binding has at most one. */
interface OtherWays {
  /** Excluded by another way. */
  readonly once?: undefined
  /** Excluded by another way. */
  readonly inbox?: undefined
  /** Excluded by another way. */
  readonly settlesIn?: undefined
}

/** Excludes ways to apply an effect once. */
export type Without<Way extends keyof OtherWays> = Pick<OtherWays, Way>

/** Options of a consumer whose handler runs in a transaction. */
export interface TransactionalConsumerOptions extends ConsumerOptions {
  readonly group: string
  /**
   * True: messages that are ready together, up to `concurrency`, may be handled in one transaction, one after the other, each
   * between savepoints, with one commit. Used while handlers are fast and do not wait for each other's locks. False: each has its
   * own transaction. @default true
   */
  readonly sharesTransactions?: boolean | undefined
}

/** `ConsumerOptions` for a handler whose effect is applied once per message, in a service. Needs a group. */
export interface OnceConsumerOptions extends TransactionalConsumerOptions, Without<'inbox' | 'settlesIn'> {
  /**
   * The handler's writes through `tx` of its context are applied once per message. They commit together with the messages that it
   * sends and with the id of the message in the service's inbox.
   */
  readonly once: true
}

/** `OnceConsumerOptions` for a binder without a service, with your own inbox. Needs a group. */
export interface InboxConsumerOptions extends TransactionalConsumerOptions, Without<'once' | 'settlesIn'> {
  /** Created by `createInbox`: the handler's effects and the deduplication are one transaction. */
  readonly inbox: Inbox
}

/**
 * `OnceConsumerOptions` for a binder without a service, where the message is stored in the database of the handler's transaction
 * and settled in it, without an inbox. For channels that are `transactional`, on `postgresTransport`. Needs a group.
 */
export interface SettlingConsumerOptions extends TransactionalConsumerOptions, Without<'once' | 'inbox'> {
  /** Client of the transactions: the transport's `sql` or `transactionsOf`. */
  readonly settlesIn: SqlClient
}

/** Options of a consumer with or without a transaction. */
export type DeclaredConsumer = ConsumerOptions & {
  readonly once?: true | undefined
  readonly inbox?: Inbox | undefined
  readonly settlesIn?: SqlClient | undefined
  readonly sharesTransactions?: boolean | undefined
}

/** Declaration by `sink`: data for `createBinder`. */
export interface SinkBinding<Name extends string = string> extends Named<Name>, Belonging {
  readonly kind: 'sink'
  /** True: the handler receives the encoded message (`EncodedMessage`), whatever its payload. */
  readonly raw?: boolean | undefined
  readonly input: Channel
  readonly output: undefined
  readonly options: DeclaredConsumer
  readonly handler: Handler<unknown, TransactionContext, unknown>
  /**
   * Called for a message whose payload does not fit the channel, before it is dead-lettered; if it rejects, it is retried like a
   * handler. If it returns `'handled'`, the message is settled, and the binding counts and logs it itself.
   */
  readonly unreadable?: ((error: Error, context: HandlerContext) => Promise<'handled' | void>) | undefined
  /** Where it leaves prepared transactions, which its service watches: a `SqlClient`, or the resource of an XA participant. */
  readonly prepares?: object | undefined
}

/** Declaration by `processor`: data for `createBinder`. */
export interface ProcessorBinding<Name extends string = string> extends Named<Name>, Belonging {
  readonly kind: 'processor'
  readonly input: Channel
  /** Channel of results without an address. */
  readonly output: Channel | undefined
  /** Further channels that it sends to, created before it starts. */
  readonly outputs?: readonly Channel[] | undefined
  /** For a `responder`: the channel of its replies. Each requesting service has its own destination below this name. */
  readonly replies?: Channel | undefined
  /** Sends the requester the permanent failure of its request. Called before `onFailure`, or instead of it. */
  readonly answer?: ((request: EncodedMessage, error: unknown, host: AnswerHost) => Answer | undefined) | undefined
  readonly options: DeclaredConsumer
  readonly handler: Handler<unknown, TransactionContext, unknown>
}

/** Declaration by `source`: data for `createBinder`. */
export interface SourceBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'source'
  readonly output: Channel
  readonly options: SourceOptions
  readonly poll: (context: SourceContext) => unknown
}

/** A binding that consumes a channel. */
export type ConsumerBinding<Name extends string = string> = SinkBinding<Name> | ProcessorBinding<Name>

/** All bindings that `createBinder` accepts. */
export type Binding<Name extends string = string> =
  | ConsumerBinding<Name>
  | BatchBinding<Name>
  | PollBinding<never, never, Name>
  | SourceBinding<Name>

/** Options of `source`. */
export interface SourceOptions {
  /** The binding's name. @default `<channel>.source` */
  readonly name?: string | undefined
  /** Pause between the end of one poll and the start of the next, in ms. */
  readonly everyMs: number
  /**
   * A poll that runs for longer than this, in ms, is reported like a hanging handler call. Raise it for a poll that waits for new
   * data. @default 30 s
   */
  readonly slowAfterMs?: number | undefined
}

/** Same as for a `sink`, where each message has its own attempts; `concurrency` counts calls. */
export interface BatchSinkOptions extends Omit<ConsumerOptions, 'middleware'> {
  /** Limits of a batch. @default at most 100 messages, 100 ms */
  readonly batch?: BatchLimits | undefined
  /** Middleware around each call of the handler, the first outermost, inside the binder's `batchMiddleware`. @default none */
  readonly middleware?: readonly BatchMiddleware[] | undefined
}

/** `BatchSinkOptions` for a handler whose effects are applied once per message, in a service. */
export interface BatchOnceOptions extends BatchSinkOptions, Without<'inbox'> {
  readonly group: string
  /**
   * The handler's writes through `tx` of its context, one transaction for the batch, are applied once per message. They commit
   * together with the messages that it sends and with the ids of the messages in the service's inbox.
   */
  readonly once: true
}

/** `BatchOnceOptions` for a binder without a service, with your own inbox. */
export interface BatchInboxOptions extends BatchSinkOptions, Without<'once'> {
  readonly group: string
  /** Must have `processBatch`, like the inbox of `createInbox`. */
  readonly inbox: Inbox
}

/** Declaration by `sinkBatch` and `processorBatch`: data for `createBinder`. */
export interface BatchBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'batch'
  readonly input: Channel
  /** For a `processorBatch`: the channel of results without an address. */
  readonly output: Channel | undefined
  readonly options: BatchSinkOptions & Pick<DeclaredConsumer, 'once' | 'inbox'>
  readonly handler: BatchHandler<unknown, BatchTransactionContext>
}

/** Options of `pollable`. It handles one message at a time, so options for speed do not apply. */
export interface PollableOptions
  extends Omit<
    ConsumerOptions,
    'group' | 'concurrency' | 'prefetch' | 'prefetchBytes' | 'autoStart' | 'rateLimit' | 'circuitBreaker'
  > {
  /** Durable group. Required, because no consumer listens between two polls. */
  readonly group: string
  /**
   * How long it stays in the group after a poll, in ms, so that the next one is fast. During this time its share of the channel
   * waits for it instead of other members. 0: leaves after each poll. @default 5 s
   */
  readonly keepMs?: number | undefined
}

/** `PollableOptions` for handlers whose effect is applied once per message, in a service. */
export interface PollableOnceOptions extends PollableOptions, Without<'inbox'> {
  /**
   * The handler's writes through `tx` of its context are applied once per message. They commit together with the id of the
   * message in the service's inbox.
   */
  readonly once: true
}

/** `PollableOnceOptions` for a binder without a service, with your own inbox. */
export interface PollableInboxOptions extends PollableOptions, Without<'once'> {
  /** Created by `createInbox`: the handler's effects and the deduplication are one transaction. */
  readonly inbox: Inbox
}

/** Created by `pollable`, for `binder.poll`. */
export interface PollBinding<Payload = never, Context = never, Name extends string = string> extends Named<Name> {
  readonly kind: 'poll'
  readonly input: Channel
  readonly output: undefined
  readonly options: PollableOptions & Pick<DeclaredConsumer, 'once' | 'inbox'>
  /** For the types only: each poll passes its own handler. */
  readonly handler?: Handler<Payload, Context, void> | undefined
}
