/**
 * The binder: joins declared bindings to one transport and owns their life.
 *
 *   idle -> started -> closing -> closed
 *
 * Promise: what a handler was given is settled last, after its outputs or its dead letter are confirmed, so a kill at
 * any moment loses nothing; it can hand a message out again (same id), which an inbox turns into one effect.
 * Not promised: that a handler without an inbox runs once.
 */
import type { RuntimeOptions } from '../core/runtime-options.ts'
import type { Telemetry } from '../core/telemetry-interface.ts'
import type { Topology } from './assembly/topology.ts'
import type { Binding, PollBinding } from './bindings/declarations.ts'
import type { Handler } from './bindings/handler-types.ts'
import type { PollOptions } from './bindings/pollable.ts'
import type { Channel } from './channel/channel.ts'
import type { EncodedMessage } from './channel/message.ts'
import type { BatchOptions, SendOptions } from './channel/message-codec.ts'
import type { BatchMiddleware } from './middleware/batch-middleware.ts'
import type { Middleware } from './middleware/middleware.ts'
import type { RequestOptions } from './requests/requester.ts'
import type { AmbientHeaders } from './sending/ambient-headers.ts'
import type { SendDestination } from './sending/destination-provisioning.ts'
import type { BinderHealth, BindingControl, BindingStatus } from './status.ts'
import type { PublishOutcome, Transport } from './transport/transport.ts'

/** Options of `createBinder`. */
export interface BinderOptions<
  Name extends string = string,
  Reply extends string = string,
  Service extends string = string,
> extends RuntimeOptions {
  /** This service's name: CloudEvents `source`, connection names, dead letter metadata. */
  readonly service: Service
  /**
   * The broker: `memoryTransport()`, `kafkaTransport(...)`, `rabbitTransport(...)`, or several by `combineTransports`.
   * The binder closes it.
   */
  readonly transport: Transport
  /** Consumers and producers of this binder, made by `sink`, `processor`, `source` and similar functions. @default none */
  readonly bindings?: ReadonlyArray<Binding<Name>> | undefined
  /** Channels that are sent to without a binding (`send`, an outbox): made to exist as they are declared. */
  readonly sends?: readonly SendDestination[] | undefined
  /**
   * Spec of an undeclared destination, when a relay publishes to it; `undefined` for the default.
   * @default 4 partitions, and no groups
   */
  readonly unlisted?: ((destination: string) => SendDestination | undefined) | undefined
  /** Channels whose messages are replies to this instance's `request`s: it takes them from `<channel>.<service>`. */
  readonly replies?: ReadonlyArray<SendDestination<Reply>> | undefined
  /** Unique per process. @default `<service>-<random>` */
  readonly instance?: string | undefined
  /**
   * Unconfirmed messages at most; `send` waits beyond. Destinations that do not answer have as much again, all together, so that the
   * others have room. @default 10 000
   */
  readonly maxInFlight?: number | undefined
  /**
   * How long a message may wait for its confirm, in ms: in the line, for a reconnect, for room at the broker, for the
   * answer. It is counted once, from when the message has its place among `maxInFlight`. Messages that go out together
   * have the time of the first of them, which is at most a tenth less. @default 30 seconds
   */
  readonly sendTimeoutMs?: number | undefined
  /**
   * Headers for every message that is sent here: by `send` and `sendBatch`, by processors and sources. Called in the
   * context of the sender, for each message; headers given with a message win. What it throws, the sender gets as a
   * `SendError`. E.g. `() => leaseHeaders()` of `concordat/locks`. @default none
   */
  readonly headers?: AmbientHeaders | undefined
  /** Around each handler call of every sink and processor, the first outermost. @default none */
  readonly middleware?: readonly Middleware[] | undefined
  /** Around each handler call of every `sinkBatch` and `processorBatch`, the first outermost. @default none */
  readonly batchMiddleware?: readonly BatchMiddleware[] | undefined
  /**
   * Spans and metrics of all that is sent and handled here, and `traceparent` in the headers of what is sent: from
   * `openTelemetry()` of `concordat/core/opentelemetry`. @default none: no header, no cost
   */
  readonly telemetry?: Telemetry | undefined
  /** How long `close` lets running handlers finish before it aborts their signal, in ms. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
}

/** `Name`: of its bindings. `Binder` alone is one of any names, and every binder fits where it is wanted. */
export interface Binder<Name extends string = string> extends AsyncDisposable {
  readonly service: string
  readonly instance: string
  /**
   * Starts every binding and resolves after each one's first attempt: with the broker down they are `connecting` and
   * start by themselves later (`ready` waits for that).
   * @throws TransportError when the broker has a destination that does not fit the declaration, `core.tables_missing` when
   * an inbox was not migrated; nothing is started then
   */
  start(): Promise<void>
  /** Resolves when every binding runs that is not stopped. @throws `binder.not_ready` after `timeoutMs` (default 30 s), `binder.closed` */
  ready(options?: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined }): Promise<void>
  /**
   * Resolves when the broker has confirmed the message.
   * @throws SendError when not (it may still have arrived; send again with the same id), SchemaError when the payload is wrong
   */
  send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Sends many, confirmed together. Messages of one key keep their order.
   * @param options what `send` takes, for each message: `(order) => ({ id: order.id })`
   * @throws SendError for the first that failed
   */
  sendBatch<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
    options?: BatchOptions<NoInfer<In>>,
  ): Promise<ReadonlyArray<{ readonly id: string }>>
  /**
   * Sends a request and resolves with its reply, made by a `responder` of any service. Waits first until replies can reach
   * this instance.
   * @throws `binder.request_timeout` (it may have been handled), `binder.request_failed` when the responder says so, SchemaError when
   * payload or reply do not fit, SendError, `binder.closed` when the binder closes meanwhile, the signal's reason
   */
  request<In, Out, ReplyIn, Reply>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: RequestOptions<ReplyIn, Reply>,
  ): Promise<Reply>
  /**
   * Pulls one message for a `pollable` and hands it to the handler with the attempts, dead letter and settling of a sink.
   * True when there was one, whatever became of it; false when none came within `waitMs`, or the binding was stopped or
   * paused. Polls of one binding wait for one another. The first takes seconds on Kafka, see `PollableOptions.keepMs`.
   * @throws `binder.not_ready` without a place in the group after 30 s, or halted; `binder.closed`; the reason of `signal`;
   * TypeError when it is none of this binder's
   */
  poll<Payload, Context>(
    binding: PollBinding<Payload, Context, Name>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
    options?: PollOptions,
  ): Promise<boolean>
  /** For relays: publishes what is already encoded. One outcome per message; never rejects. */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
  bindings(): readonly BindingStatus[]
  /** @throws TypeError naming the bindings there are */
  binding(name: Name): BindingControl
  health(): BinderHealth
  /**
   * Messages of the binding's channel that its group has not settled, asked of the broker; those that wait for a delayed
   * retry are not among them. On RabbitMQ what other processes hold unsettled is not either. `undefined` for a source and
   * without a group.
   * @throws TransportError, `binder.closed`, TypeError naming the bindings there are
   */
  lag(name: Name): Promise<number | undefined>
  /**
   * How many dead letters of a binding lie on the broker; `undefined` for one whose `onFailure` makes none, and while a redrive or another
   * reader may hold some that RabbitMQ does not count.
   * @throws `binder.closed`, TransportError
   */
  deadLetters(name: Name): Promise<number | undefined>
  /** Objects that must exist on the broker for the declared bindings and `sends`, as frozen data. No I/O, also before `start`. */
  describe(): Topology
  /**
   * Stops intake, lets running handlers finish, settles, confirms what is being sent, disconnects. Idempotent; waits at
   * most about twice `drainTimeoutMs`.
   */
  close(): Promise<void>
}
