/**
 * The binder: connects declared bindings to one transport, and starts and closes them.
 *
 *   idle -> started -> closing -> closed
 *
 * Promise: a message is settled last, after its outputs or its dead letter are confirmed, so a kill at any moment loses nothing.
 * It may redeliver a message (with the same id), which an inbox turns into one effect. Not promised: that a handler without an
 * inbox runs once.
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
  /** Name of this service: CloudEvents `source`, connection names, dead letter metadata. */
  readonly service: Service
  /**
   * The broker: `memoryTransport()`, `kafkaTransport(...)`, `rabbitTransport(...)`, or several with `combineTransports`. The
   * binder closes it.
   */
  readonly transport: Transport
  /** Consumers and producers of this binder, made by `sink`, `processor`, `source` and similar functions. @default none */
  readonly bindings?: ReadonlyArray<Binding<Name>> | undefined
  /** Channels that are sent to without a binding (`send`, an outbox). They are created as declared. */
  readonly sends?: readonly SendDestination[] | undefined
  /**
   * Returns the spec of an undeclared destination when a relay publishes to it; `undefined` for the default.
   * @default 4 partitions, and no groups
   */
  readonly unlisted?: ((destination: string) => SendDestination | undefined) | undefined
  /** Channels with replies to `request`s of this instance, which it reads from `<channel>.<service>`. */
  readonly replies?: ReadonlyArray<SendDestination<Reply>> | undefined
  /** Name of this process, unique among all. @default `<service>-<random>` */
  readonly instance?: string | undefined
  /**
   * Maximum number of unconfirmed messages; further `send`s wait. Destinations that do not answer share a second limit of the
   * same size, so that they do not block the others. @default 10 000
   */
  readonly maxInFlight?: number | undefined
  /**
   * How long a message may wait for its confirm, in ms: for its turn, a reconnect, capacity at the broker, and the answer. The
   * time starts when the message counts towards `maxInFlight`. Messages that are sent together have the time limit of the first
   * of them, which ends at most a tenth earlier. @default 30 seconds
   */
  readonly sendTimeoutMs?: number | undefined
  /**
   * Returns headers for every message sent by `send`, `sendBatch`, processors and sources. Called in the context of the sender,
   * for each message; headers passed with a message override these. If it throws, the sender receives the error in a `SendError`.
   * Example: `() => leaseHeaders()` of `concordat/locks`. @default none
   */
  readonly headers?: AmbientHeaders | undefined
  /** Middleware around each handler call of every sink and processor, the first outermost. @default none */
  readonly middleware?: readonly Middleware[] | undefined
  /** Middleware around each handler call of every `sinkBatch` and `processorBatch`, the first outermost. @default none */
  readonly batchMiddleware?: readonly BatchMiddleware[] | undefined
  /**
   * Records spans and metrics of sending and handling, and adds `traceparent` to the headers of sent messages: from
   * `openTelemetry()` of `concordat/core/opentelemetry`. @default none: no header, no cost
   */
  readonly telemetry?: Telemetry | undefined
  /** How long `close` lets running handlers finish before it aborts their signal, in ms. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
}

/** Runs bindings. `Name`: names of its bindings. `Binder` alone accepts any name, and every binder is assignable to it. */
export interface Binder<Name extends string = string> extends AsyncDisposable {
  readonly service: string
  readonly instance: string
  /**
   * Starts every binding, and resolves after the first attempt of each. While the broker is down they are `connecting` and start
   * later on their own (`ready` waits for that).
   * @throws TransportError when a destination on the broker does not fit its declaration, `core.tables_missing` when an inbox was
   * not migrated; nothing is started then
   */
  start(): Promise<void>
  /**
   * Resolves when every binding runs that is not stopped. @throws `binder.not_ready` after `timeoutMs` (default 30 s),
   * `binder.closed`
   */
  ready(options?: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined }): Promise<void>
  /**
   * Sends a message. Resolves when the broker has confirmed it.
   * @throws SendError otherwise (the message may still have arrived; send it again with the same id), SchemaError for an invalid
   * payload
   */
  send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Sends many messages, confirmed together. Messages with the same key keep their order.
   * @param options options of `send` for each message: `(order) => ({ id: order.id })`
   * @throws SendError for the first failed message
   */
  sendBatch<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
    options?: BatchOptions<NoInfer<In>>,
  ): Promise<ReadonlyArray<{ readonly id: string }>>
  /**
   * Sends a request, and resolves with the reply of a `responder` in any service. Waits first until replies can reach this
   * instance.
   * @throws `binder.request_timeout` (the request may have been handled), `binder.request_failed` with the responder's error,
   * SchemaError when payload or reply are invalid, SendError, `binder.closed` when the binder closes, the reason of the signal
   */
  request<In, Out, ReplyIn, Reply>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: RequestOptions<ReplyIn, Reply>,
  ): Promise<Reply>
  /**
   * Takes one message for a `pollable` and calls the handler, with the attempts, dead letters and settling of a sink. True when
   * there was a message, whatever its outcome; false when none arrived within `waitMs`, or the binding was stopped or paused.
   * Polls of one binding run one after the other. On Kafka the first one takes seconds, see `PollableOptions.keepMs`.
   * @throws `binder.not_ready` when the binding has no place in the group after 30 s, or is halted; `binder.closed`; the reason
   * of `signal`; TypeError when the binding does not belong to this binder
   */
  poll<Payload, Context>(
    binding: PollBinding<Payload, Context, Name>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
    options?: PollOptions,
  ): Promise<boolean>
  /** Publishes encoded messages, for relays. Returns one outcome per message; never rejects. */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
  bindings(): readonly BindingStatus[]
  /** Returns the control of a binding. @throws TypeError listing the existing bindings */
  binding(name: Name): BindingControl
  health(): BinderHealth
  /**
   * Returns the number of messages in the binding's channel that its group has not settled, as reported by the broker, without
   * messages that wait for a delayed retry. On RabbitMQ it also excludes unsettled messages of other processes. `undefined` for a
   * source and without a group.
   * @throws TransportError, `binder.closed`, TypeError listing the existing bindings
   */
  lag(name: Name): Promise<number | undefined>
  /**
   * Returns the number of a binding's dead letters on the broker; `undefined` if its `onFailure` creates none, and while a
   * redrive or another reader may hold some that RabbitMQ does not count.
   * @throws `binder.closed`, TransportError
   */
  deadLetters(name: Name): Promise<number | undefined>
  /**
   * Returns the broker objects that the declared bindings and `sends` need, as frozen data. No I/O; also works before `start`.
   */
  describe(): Topology
  /**
   * Stops intake, lets running handlers finish, settles, confirms messages being sent, and disconnects. Idempotent; takes at most
   * about twice `drainTimeoutMs`.
   */
  close(): Promise<void>
}
