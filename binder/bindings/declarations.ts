/** Declarations as data: what sink(), processor(), source() and the others return. */

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

/** Parts that a service supplies to declarations without them. */
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
  /** Set when it works in a service only: what a service calls to have the binding that runs. */
  readonly complete?: Completion | undefined
  /** Same as `Inbox.ready`, for the handler's needs beside an inbox. */
  readonly ready?: (() => Promise<void>) | undefined
  /** Tables that it needs in the service's schema, which the service makes. */
  readonly tables?: SqlPart | undefined
  /** For a pipeline: its picture. */
  readonly pipeline?: PipelinePart | undefined
}

/** How a binding takes messages and what it does about failures. Of `sink`, `processor` and `route`. */
export interface ConsumerOptions {
  /** Durable group whose members share the work. Without one each instance gets every message from now on. */
  readonly group?: string | undefined
  /** The binding's name in logs, health and control. @default `<channel>.<group>` */
  readonly name?: string | undefined
  /** Handler calls that may run at once in this process; those of one key never do. @default 1 */
  readonly concurrency?: number | undefined
  /** Handler calls per message including the first. @default 3 */
  readonly maxAttempts?: number | undefined
  /** Pauses between attempts. @default 1 s, doubled, at most 10 s, 20 % jitter */
  readonly backoff?: BackoffOptions | undefined
  /**
   * Where a message waits for its next attempt. `blocking`: in its place, which keeps the order of its key and holds up
   * what lies behind. `delayed`: it leaves the line and a copy comes back to this group alone after the pause; what lies
   * behind goes on, order is not kept, and attempts are counted also across a crash. Needs a group. @default 'blocking'
   */
  readonly retry?: 'blocking' | 'delayed' | undefined
  /** Which errors are worth another attempt. @default all but those with `retryable === false` */
  readonly retryable?: ((error: Error) => boolean) | undefined
  /**
   * Handling of a message that failed permanently: `dead-letter` sends it to `<channel>.<group>.dlq`, `drop` logs and forgets it, `halt`
   * pauses the binding with the message unsettled and reports it unhealthy. @default 'dead-letter' for a group, 'drop' for an anonymous
   * subscription
   */
  readonly onFailure?: 'dead-letter' | 'drop' | 'halt' | undefined
  /** Deliveries held in this process at most. @default 200 */
  readonly prefetch?: number | undefined
  /** Bytes of payload held in this process, about. @default 16 MiB */
  readonly prefetchBytes?: number | undefined
  /**
   * Messages that begin per second at most, in this process. What is over waits; nothing is lost. @default no limit
   */
  readonly rateLimit?: RateLimitOptions | undefined
  /**
   * A handler call that runs for longer than this, in ms, makes the binder's health `degraded`, raises the metric
   * `concordat.binding.slow` and is a line of `npx concordat doctor`. It does not end the call: the middleware `timeout` does. Raise it
   * for handlers that take their time: with an inbox, the server ends a transaction that gets no statement for twice as long, at least
   * a minute. @default 30 s
   */
  readonly slowAfterMs?: number | undefined
  /** Pauses the binding when too many handler calls failed. @default none */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined
  /** False: `stopped` until `binding(name).start()`, and healthy so. @default true */
  readonly autoStart?: boolean | undefined
  /** Around each call of the handler, the first outermost, inside those of the whole binder. @default none */
  readonly middleware?: readonly Middleware[] | undefined
}

/** Ways to apply an effect once, of which a binding has one or none. */
interface OtherWays {
  /** Not beside the other ways. */
  readonly once?: undefined
  /** Not beside the other ways. */
  readonly inbox?: undefined
  /** Not beside the other ways. */
  readonly settlesIn?: undefined
}

/** Excludes ways to apply an effect once. */
export type Without<Way extends keyof OtherWays> = Pick<OtherWays, Way>

/** How a binding takes messages whose handler runs in a transaction. */
export interface TransactionalConsumerOptions extends ConsumerOptions {
  readonly group: string
  /**
   * Messages that are ready together, up to `concurrency`, may be handled in one transaction, one after the other, each
   * between savepoints: one commit for all. It is done while handlers are quick and do not meet each other's locks. False: a
   * transaction for each. @default true
   */
  readonly sharesTransactions?: boolean | undefined
}

/** Same as `ConsumerOptions`, for a handler whose effect is applied once per message. In a service. Needs a group. */
export interface OnceConsumerOptions extends TransactionalConsumerOptions, Without<'inbox' | 'settlesIn'> {
  /**
   * What the handler does through `tx` of its context is applied once per message. It commits together with what the handler sends
   * and with the id of the message in the service's inbox.
   */
  readonly once: true
}

/** Same as `OnceConsumerOptions` for a binder without a service, with an inbox of yours. Needs a group. */
export interface InboxConsumerOptions extends TransactionalConsumerOptions, Without<'once' | 'settlesIn'> {
  /** Made by `createInbox`: the handler's effects and its deduplication are one transaction. */
  readonly inbox: Inbox
}

/**
 * Same as `OnceConsumerOptions` for a binder without a service, where the message is stored in the database of the handler's
 * transaction and is settled in it, without an inbox. For channels that are `transactional`, on `postgresTransport`. Needs a group.
 */
export interface SettlingConsumerOptions extends TransactionalConsumerOptions, Without<'once' | 'inbox'> {
  /** The client of the transactions, which is the transport's `sql` or `transactionsOf`. */
  readonly settlesIn: SqlClient
}

/** Options of a consumer with or without a transaction. */
export type DeclaredConsumer = ConsumerOptions & {
  readonly once?: true | undefined
  readonly inbox?: Inbox | undefined
  readonly settlesIn?: SqlClient | undefined
  readonly sharesTransactions?: boolean | undefined
}

/** Declaration of `sink`: data for `createBinder`, which does nothing by itself. */
export interface SinkBinding<Name extends string = string> extends Named<Name>, Belonging {
  readonly kind: 'sink'
  /** True: the handler gets the message as it travels (`EncodedMessage`), whatever its payload. */
  readonly raw?: boolean | undefined
  readonly input: Channel
  readonly output: undefined
  readonly options: DeclaredConsumer
  readonly handler: Handler<unknown, TransactionContext, unknown>
  /**
   * Called for a message whose payload is not what the channel says, before it goes to the dead letters; tried again as a
   * handler is when it rejects. With `'handled'` that was its end: the binding counts and logs such messages itself.
   */
  readonly unreadable?: ((error: Error, context: HandlerContext) => Promise<'handled' | void>) | undefined
  /** Where it leaves transactions prepared, which its service watches: a `SqlClient`, or the resource of an XA participant. */
  readonly prepares?: object | undefined
}

/** Declaration of `processor`: data for `createBinder`, which does nothing by itself. */
export interface ProcessorBinding<Name extends string = string> extends Named<Name>, Belonging {
  readonly kind: 'processor'
  readonly input: Channel
  /** Where a result without an address goes. */
  readonly output: Channel | undefined
  /** Others that it is known to send to: made to exist before it starts. */
  readonly outputs?: readonly Channel[] | undefined
  /** For a `responder`: the channel of its answers; each requesting service has a destination of its own below this name. */
  readonly replies?: Channel | undefined
  /** Tells the requester that its request failed permanently. Called before `onFailure`, or instead of it. */
  readonly answer?: ((request: EncodedMessage, error: unknown, host: AnswerHost) => Answer | undefined) | undefined
  readonly options: DeclaredConsumer
  readonly handler: Handler<unknown, TransactionContext, unknown>
}

/** Declaration of `source`: data for `createBinder`, which does nothing by itself. */
export interface SourceBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'source'
  readonly output: Channel
  readonly options: SourceOptions
  readonly poll: (context: SourceContext) => unknown
}

/** A binding that consumes a channel. */
export type ConsumerBinding<Name extends string = string> = SinkBinding<Name> | ProcessorBinding<Name>

/** Anything that `createBinder` takes as a binding. */
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
   * A poll that runs for longer than this, in ms, is reported as a handler call that hangs is. Raise it for a poll that waits for new
   * data. @default 30 s
   */
  readonly slowAfterMs?: number | undefined
}

/** Same as for a `sink`, each message with its own attempts; `concurrency` counts calls. */
export interface BatchSinkOptions extends Omit<ConsumerOptions, 'middleware'> {
  /** How large a batch gets, and how long it is waited for. @default at most 100 messages, 100 ms */
  readonly batch?: BatchLimits | undefined
  /** Around each call of the handler, the first outermost, inside `batchMiddleware` of the whole binder. @default none */
  readonly middleware?: readonly BatchMiddleware[] | undefined
}

/** Same as `BatchSinkOptions`, for a handler whose effects are applied once per message. In a service. */
export interface BatchOnceOptions extends BatchSinkOptions, Without<'inbox'> {
  readonly group: string
  /**
   * What the handler does through `tx` of its context, one transaction for the batch, is applied once per message. It commits
   * together with what the handler sends and with the ids of the messages in the service's inbox.
   */
  readonly once: true
}

/** Same as `BatchOnceOptions` for a binder without a service, with an inbox of yours. */
export interface BatchInboxOptions extends BatchSinkOptions, Without<'once'> {
  readonly group: string
  /** Has to have `processBatch`, as that of `createInbox` has. */
  readonly inbox: Inbox
}

/** Declaration of `sinkBatch` and `processorBatch`: data for `createBinder`, which does nothing by itself. */
export interface BatchBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'batch'
  readonly input: Channel
  /** For a `processorBatch`: the channel of results without an address. */
  readonly output: Channel | undefined
  readonly options: BatchSinkOptions & Pick<DeclaredConsumer, 'once' | 'inbox'>
  readonly handler: BatchHandler<unknown, BatchTransactionContext>
}

/** Handles a message at a time, on request: options for speed do not apply. */
export interface PollableOptions
  extends Omit<
    ConsumerOptions,
    'group' | 'concurrency' | 'prefetch' | 'prefetchBytes' | 'autoStart' | 'rateLimit' | 'circuitBreaker'
  > {
  /** Durable group, since no consumer listens between two polls. */
  readonly group: string
  /**
   * How long it stays in the group after a poll, in ms, so that the next one is quick. Meanwhile its share of the
   * channel waits for it and not for other members. 0: leaves after each poll. @default 5 s
   */
  readonly keepMs?: number | undefined
}

/** Same as `PollableOptions`, for handlers whose effect is applied once per message. In a service. */
export interface PollableOnceOptions extends PollableOptions, Without<'inbox'> {
  /**
   * What the handler does through `tx` of its context is applied once per message. It commits together with the id of the message
   * in the service's inbox.
   */
  readonly once: true
}

/** Same as `PollableOnceOptions` for a binder without a service, with an inbox of yours. */
export interface PollableInboxOptions extends PollableOptions, Without<'once'> {
  /** Made by `createInbox`: the handler's effects and its deduplication are one transaction. */
  readonly inbox: Inbox
}

/** Made by `pollable`, for `binder.poll`. */
export interface PollBinding<Payload = never, Context = never, Name extends string = string> extends Named<Name> {
  readonly kind: 'poll'
  readonly input: Channel
  readonly output: undefined
  readonly options: PollableOptions & Pick<DeclaredConsumer, 'once' | 'inbox'>
  /** For the types only: each poll brings its own. */
  readonly handler?: Handler<Payload, Context, void> | undefined
}
