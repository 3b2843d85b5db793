/**
 * Declarations of what a service does with its channels. Frozen data: nothing runs until `createBinder` gets them.
 */

import type { BackoffOptions } from '../../core/backoff.ts'
import type { ContextLogger } from '../../core/logger.ts'
import { wrongKind } from '../../core/options.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { type Channel, requireChannel } from '../channel/channel.ts'
import type { EncodedMessage, Headers } from '../channel/message.ts'
import type { Middleware } from '../middleware/middleware.ts'
import type { Answer, AnswerHost } from '../requests/replies.ts'
import type { BatchBinding } from './batch.ts'
import type { Named, NameOption, NameOptions } from './binding-name.ts'
import type { CircuitBreakerOptions, RateLimitOptions } from './flow-options.ts'
import type { Inbox } from './inbox.ts'
import { type Completion, consumerOptions } from './of-service.ts'
import type { Result } from './outputs.ts'
import type { PollBinding } from './pollable.ts'

/** The message a handler works on, beside its payload. */
export interface HandlerContext {
  readonly id: string
  readonly channel: string
  readonly key: string | null
  readonly headers: Headers
  /** When the message was made, epoch ms. */
  readonly time: number
  readonly source: string
  /** Which handler call this is, from 1. Starts again when the process died in between, unless retry is `delayed`. */
  readonly attempt: number
  /** The durable group, `null` when anonymous. */
  readonly group: string | null
  /** Where the message lies on the broker, for logs. */
  readonly position: string
  readonly redelivered: boolean | undefined
  /** Aborts when the message was taken from this process or the drain ran out: stop, the message comes back. */
  readonly signal: AbortSignal
  /** Logs with the message's id, channel and attempt. */
  readonly log: ContextLogger
}

/** The context of a binding with an `inbox`: `tx` is the transaction that also holds the deduplication. */
export interface TransactionContext extends HandlerContext {
  readonly tx: SqlTransaction
}

export type Handler<Payload, Context, Result> = (payload: Payload, context: Context) => Result | Promise<Result>

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
   * What becomes of a message that failed for good: `dead-letter` sends it to `<channel>.<group>.dlq`, `drop` logs and
   * forgets it, `halt` pauses the binding with the message unsettled and reports it unhealthy. @default 'dead-letter'
   * for a group, 'drop' for an anonymous subscription
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
  /** Pauses the binding when too many handler calls failed. @default none */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined
  /** False: `stopped` until `binding(name).start()`, and healthy so. @default true */
  readonly autoStart?: boolean | undefined
  /** Around each call of the handler, the first outermost, inside those of the whole binder. @default none */
  readonly middleware?: readonly Middleware[] | undefined
}

export interface InboxConsumerOptions extends ConsumerOptions {
  readonly group: string
  /** Made by `createInbox`; `true` for the inbox of the service that the binding is declared in. */
  readonly inbox: Inbox | true
}

export interface SinkBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'sink'
  /** True: the handler gets the message as it travels (`EncodedMessage`), whatever its payload. */
  readonly raw?: boolean | undefined
  readonly input: Channel
  readonly output: undefined
  readonly options: ConsumerOptions & { readonly inbox?: Inbox | undefined }
  readonly handler: Handler<unknown, TransactionContext, unknown>
  /** As `Inbox.ready`, for what the handler needs beside an inbox. */
  readonly ready?: (() => Promise<void>) | undefined
  /**
   * Called for a message whose payload is not what the channel says, before it goes to the dead letters; tried again as a
   * handler is when it rejects.
   */
  readonly unreadable?: ((error: Error, context: HandlerContext) => Promise<void>) | undefined
  /** Set when it works in a service only: what a service calls to have the binding that runs. */
  readonly complete?: Completion | undefined
}

export interface ProcessorBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'processor'
  readonly input: Channel
  /** Where a result without an address goes. */
  readonly output: Channel | undefined
  /** Others that it is known to send to: made to exist before it starts. */
  readonly outputs?: readonly Channel[] | undefined
  /** Who asked gets to know that the request failed for good. Before `onFailure`, or instead of it. */
  readonly answer?: ((request: EncodedMessage, error: unknown, host: AnswerHost) => Answer | undefined) | undefined
  readonly options: ConsumerOptions & { readonly inbox?: Inbox | undefined }
  readonly handler: Handler<unknown, TransactionContext, unknown>
}

export interface SourceBinding<Name extends string = string> extends Named<Name> {
  readonly kind: 'source'
  readonly output: Channel
  readonly options: SourceOptions
  readonly poll: (context: SourceContext) => unknown
}

/** What takes messages off a channel. */
export type ConsumerBinding<Name extends string = string> = SinkBinding<Name> | ProcessorBinding<Name>

export type Binding<Name extends string = string> =
  | ConsumerBinding<Name>
  | BatchBinding<Name>
  | PollBinding<never, never, Name>
  | SourceBinding<Name>

export interface SourceOptions {
  /** The binding's name. @default `<channel>.source` */
  readonly name?: string | undefined
  /** Pause between the end of one poll and the start of the next, in ms. */
  readonly everyMs: number
}

export interface SourceContext {
  /** Aborts when the binder closes. */
  readonly signal: AbortSignal
  readonly log: ContextLogger
}

/** Consumes `channel`. The message is settled after the handler resolved. */
export function sink<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: InboxConsumerOptions & NameOptions<Group, Name>,
  handler: Handler<Out, TransactionContext, void>,
): SinkBinding<NoInfer<Name>>
export function sink<
  In,
  Out,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  channel: Channel<In, Out, At>,
  options: ConsumerOptions & { readonly inbox?: undefined } & NameOptions<Group, Name>,
  handler: Handler<Out, HandlerContext, void>,
): SinkBinding<NoInfer<Name>>
export function sink(
  channel: unknown,
  options: ConsumerOptions & { readonly inbox?: Inbox | true | undefined },
  handler: unknown,
): SinkBinding {
  const input = requireChannel('sink', channel as Channel)
  requireOptionsFirst(`sink("${input.name}")`, options, 'sink(channel, options, handler)')
  return Object.freeze({
    kind: 'sink',
    input,
    output: undefined,
    options: consumerOptions(options),
    handler: handler as SinkBinding['handler'],
  })
}

/**
 * Consumes `input` and sends what the handler returns to `output`. The input is settled after every output was
 * confirmed; with an `inbox`, outputs go through its outbox in the handler's transaction.
 */
export function processor<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: InboxConsumerOptions & NameOptions<Group, Name>,
  handler: Handler<Out, TransactionContext, Result<OutIn>>,
): ProcessorBinding<NoInfer<Name>>
export function processor<
  In,
  Out,
  OutIn,
  OutOut,
  At extends string = string,
  Group extends string = 'anonymous',
  Name extends string = `${At}.${Group}`,
>(
  input: Channel<In, Out, At>,
  output: Channel<OutIn, OutOut>,
  options: ConsumerOptions & { readonly inbox?: undefined } & NameOptions<Group, Name>,
  handler: Handler<Out, HandlerContext, Result<OutIn>>,
): ProcessorBinding<NoInfer<Name>>
export function processor(
  input: unknown,
  output: unknown,
  options: ConsumerOptions & { readonly inbox?: Inbox | true | undefined },
  handler: unknown,
): ProcessorBinding {
  const from = requireChannel('processor', input as Channel)
  const path = `processor("${from.name}")`
  if (typeof options === 'function' && handler === undefined) {
    throw new TypeError(`${path}: the output channel is missing: processor(input, output, options, handler)`)
  }
  requireOptionsFirst(path, options, 'processor(input, output, options, handler)')
  return Object.freeze({
    kind: 'processor',
    input: from,
    output: requireChannel(`${path} output`, output as Channel),
    options: consumerOptions(options),
    handler: handler as ProcessorBinding['handler'],
  })
}

/**
 * Calls `poll` again and again while the binder runs and sends what it returns, until the broker has confirmed it. One
 * call at a time. When the broker will never take it (too large, unroutable) the binding halts and keeps it: `start()`
 * sends it again. Across a restart of the process it remembers nothing: poll from what keeps its place, or use an outbox.
 */
export function source<In, Out, At extends string = string, Name extends string = `${At}.source`>(
  channel: Channel<In, Out, At>,
  options: SourceOptions & NameOption<Name>,
  poll: (context: SourceContext) => Result<In> | Promise<Result<In>>,
): SourceBinding<NoInfer<Name>> {
  const output = requireChannel('source', channel as unknown as Channel)
  requireOptionsFirst(`source("${output.name}")`, options, 'source(channel, options, poll)')
  return Object.freeze({
    kind: 'source',
    output,
    options: Object.freeze({ ...options }),
    poll,
  })
}

/** Their names and values are checked by `createBinder`. */
export function requireOptionsFirst(path: string, options: unknown, call: string): void {
  if (typeof options === 'object' && options !== null) return
  throw wrongKind(path, options, `an object of options before the function: ${call}`)
}
