/**
 * The binder: joins declared bindings to one transport and owns their life.
 *
 *   idle -> started -> closing -> closed
 *
 * Promise: what a handler was given is settled last, after its outputs or its dead letter are confirmed, so a kill at
 * any moment loses nothing; it can hand a message out again (same id), which an inbox turns into one effect.
 * Not promised: that a handler without an inbox runs once.
 */
import { type Clock, SECOND, systemClock } from '../core/clock.ts'
import { invalidOption, requireInteger, requireText } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { type Logger, silentLogger } from '../core/logger.ts'
import { optionNames, refuseUnknown, requireFunction } from '../core/options.ts'
import { checkTelemetry, type Telemetry, withActiveSpan } from '../core/telemetry.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { type AmbientHeaders, checkAmbient, withAmbient } from './ambient-headers.ts'
import type { Binding, Handler } from './binding.ts'
import { type Channel, checkName, DEFAULT_PARTITIONS } from './channel.ts'
import type { PollHandler } from './consuming/puller.ts'
import { makeRunners, pullerOf, type Runner, startRunners } from './consuming/runners.ts'
import { BinderClosed, BinderNotReady, SendError } from './errors.ts'
import type { EncodedMessage } from './message.ts'
import { checkMiddleware, type Middleware } from './middleware/middleware.ts'
import type { PollBinding, PollOptions } from './pollable.ts'
import { type RequestOptions, Requests } from './requests/requests.ts'
import { Destinations, destinationSpecs, type Place } from './sending/destinations.ts'
import { type BatchOptions, encodeMessage, type SendOptions } from './sending/encode.ts'
import { Publisher } from './sending/publisher.ts'
import type { BinderHealth, BindingControl, BindingStatus } from './status.ts'
import { BinderTelemetry } from './telemetry.ts'
import { type Declared, describeTopology, type Topology } from './topology.ts'
import type { PublishOutcome, Transport } from './transport.ts'

export interface BinderOptions {
  /** This service's name: CloudEvents `source`, connection names, dead letter metadata. */
  readonly service: string
  readonly transport: Transport
  readonly bindings?: readonly Binding[] | undefined
  /** Channels that are sent to without a binding (`send`, an outbox): made to exist as they are declared. */
  readonly sends?: readonly Place[] | undefined
  /** Channels whose messages are replies to this instance's `request`s: it takes them from `<channel>.<service>`. */
  readonly replies?: readonly Place[] | undefined
  /** Unique per process. @default `<service>-<random>` */
  readonly instance?: string | undefined
  /** @default silentLogger */
  readonly logger?: Logger | undefined
  readonly clock?: Clock | undefined
  /** Unconfirmed messages at most; `send` waits beyond. @default 10 000 */
  readonly maxInFlight?: number | undefined
  /** How long a `send` may wait for its confirm, reconnects included, in ms. @default 30 seconds */
  readonly sendTimeoutMs?: number | undefined
  /**
   * Headers for every message that is sent here: by `send` and `sendBatch`, by processors and sources. Called in the
   * context of the sender, for each message; headers given with a message win. What it throws, the sender gets as a
   * `SendError`. E.g. `() => leaseHeaders()` of `concordat/locks`. @default none
   */
  readonly headers?: AmbientHeaders | undefined
  /** Around each handler call of every sink and processor, the first outermost. @default none */
  readonly middleware?: readonly Middleware[] | undefined
  /**
   * Spans and metrics of all that is sent and handled here, and `traceparent` in the headers of what is sent: from
   * `openTelemetry()` of `concordat/core/opentelemetry`. @default none: no header, no cost
   */
  readonly telemetry?: Telemetry | undefined
  /** How long `close` lets running handlers finish before it aborts their signal, in ms. @default 10 seconds */
  readonly drainTimeoutMs?: number | undefined
}

export interface Binder extends AsyncDisposable {
  readonly service: string
  readonly instance: string
  /**
   * Starts every binding and resolves after each one's first attempt: with the broker down they are `connecting` and
   * start by themselves later (`ready` waits for that).
   * @throws TransportError when the broker has a destination that does not fit the declaration, SqlTablesMissing when
   * an inbox was not migrated; nothing is started then
   */
  start(): Promise<void>
  /** Resolves when every binding runs that is not stopped. @throws BinderNotReady after `timeoutMs` (default 30 s) */
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
   * @throws RequestTimeout (it may have been handled), RequestFailed when the responder says so, SchemaError when payload
   * or reply do not fit, SendError, BinderClosed when the binder closes meanwhile, the signal's reason
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
   * @throws BinderNotReady without a place in the group after 30 s, or halted; BinderClosed; the reason of `signal`
   */
  poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
    options?: PollOptions,
  ): Promise<boolean>
  /** For relays: publishes what is already encoded. One outcome per message; never rejects. */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
  bindings(): readonly BindingStatus[]
  /** @throws TypeError naming the bindings there are */
  binding(name: string): BindingControl
  health(): BinderHealth
  /**
   * Messages of the binding's channel that its group has not settled, asked of the broker; those that wait for a delayed
   * retry are not among them. On RabbitMQ what other processes hold unsettled is not either. `undefined` for a source and
   * without a group.
   * @throws TransportError, BinderClosed, TypeError naming the bindings there are
   */
  lag(name: string): Promise<number | undefined>
  /** What has to exist on the broker for the declared bindings and `sends`, as frozen data. No I/O, also before `start`. */
  describe(): Topology
  /**
   * Stops intake, lets running handlers finish, settles, confirms what is being sent, disconnects. Idempotent; waits at
   * most about twice `drainTimeoutMs`.
   */
  close(): Promise<void>
}

const NAMES = optionNames<BinderOptions>({
  service: true,
  transport: true,
  bindings: true,
  sends: true,
  replies: true,
  instance: true,
  logger: true,
  clock: true,
  maxInFlight: true,
  sendTimeoutMs: true,
  drainTimeoutMs: true,
  headers: true,
  middleware: true,
  telemetry: true,
})

/** @throws TypeError / RangeError naming the option, for everything that is wrong without asking the broker */
export function createBinder(options: BinderOptions): Binder {
  return new TransportBinder(options)
}

/** As the user wants it. */
const SETTLED: ReadonlySet<string> = new Set(['running', 'paused', 'stopped'])

class TransportBinder implements Binder {
  readonly service: string
  readonly instance: string
  readonly #transport: Transport
  readonly #publisher: Publisher
  readonly #destinations: Destinations
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #drainTimeoutMs: number
  readonly #ambient: AmbientHeaders | undefined
  readonly #telemetry: BinderTelemetry | undefined
  readonly #handlerLogger: Logger
  readonly #runners: ReadonlyMap<string, Runner>
  readonly #declared: Declared
  readonly #requests: Requests
  #state: 'idle' | 'started' | 'closing' | 'closed' = 'idle'
  #closed: Promise<void> | undefined
  #unobserve: (() => void) | undefined

  constructor(options: BinderOptions) {
    refuseUnknown('createBinder', options, NAMES)
    this.service = checkName('createBinder.service', options.service, 100)
    this.instance = requireText('createBinder.instance', options.instance ?? `${options.service}-${newId().slice(-12)}`)
    if (typeof options.transport?.subscribe !== 'function') {
      throw invalidOption('createBinder.transport', options.transport, 'a transport such as memoryTransport()')
    }
    this.#transport = options.transport
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger ?? silentLogger
    this.#drainTimeoutMs = requireInteger('createBinder.drainTimeoutMs', options.drainTimeoutMs ?? 10 * SECOND, 0)
    this.#ambient = checkAmbient('createBinder.headers', options.headers)
    const telemetry = checkTelemetry('createBinder.telemetry', options.telemetry)
    this.#telemetry = telemetry && new BinderTelemetry(telemetry, this.#transport.name, this.#clock)
    this.#handlerLogger = withActiveSpan(this.#logger, telemetry)
    const publishTimeoutMs = requireInteger('createBinder.sendTimeoutMs', options.sendTimeoutMs ?? 30 * SECOND, 1)
    const maxInFlight = requireInteger('createBinder.maxInFlight', options.maxInFlight ?? 10_000, 1)
    const { service, instance } = this
    this.#transport.attach({ service, instance, logger: this.#logger, clock: this.#clock, publishTimeoutMs })
    this.#requests = this.#makeRequests(options.replies)
    const bindings = [...(options.bindings ?? []), ...this.#requests.bindings]
    const specs = destinationSpecs(bindings, options.sends ?? [])
    this.#declared = { bindings, destinations: [...specs.values()] }
    this.#destinations = new Destinations(this.#transport, specs, (name) => ({
      name,
      partitions: DEFAULT_PARTITIONS,
      groups: [],
      assumed: true,
    }))
    this.#publisher = new Publisher(
      this.#transport,
      this.#destinations,
      this.#clock,
      maxInFlight,
      publishTimeoutMs,
      this.#telemetry,
    )
    this.#runners = makeRunners(bindings, {
      service,
      clock: this.#clock,
      logger: this.#logger,
      transport: this.#transport,
      publisher: this.#publisher,
      destinations: this.#destinations,
      drainTimeoutMs: this.#drainTimeoutMs,
      ambient: this.#ambient,
      telemetry: this.#telemetry,
      handlerLogger: this.#handlerLogger,
      middleware: checkMiddleware('createBinder.middleware', options.middleware),
    })
  }

  async start(): Promise<void> {
    if (this.#state !== 'idle') throw new BinderClosed(this.#state === 'started' ? 'already started' : this.#state)
    this.#state = 'started'
    this.#unobserve = this.#telemetry?.observe(
      () => this.bindings(),
      (name) => this.lag(name),
    )
    try {
      await startRunners(this.#runners, this.#logger)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async ready(options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined } = {}): Promise<void> {
    const deadline = this.#clock.monotonic() + (options.timeoutMs ?? 30 * SECOND)
    for (;;) {
      const waiting = this.bindings().filter(({ state }) => !SETTLED.has(state))
      if (waiting.length === 0) return
      if (this.#clock.monotonic() >= deadline) throw new BinderNotReady(waiting)
      await this.#clock.sleep(20, options.signal)
    }
  }

  async send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }> {
    this.#requireStarted()
    const encoded = encodeMessage(channel, payload, this.service, this.#around(channel, options), this.#clock)
    const message = encoded instanceof Promise ? await encoded : encoded
    this.#destinations.learn(channel, options?.destination)
    await this.#publisher.send(message)
    return { id: message.id }
  }

  async sendBatch<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
    options?: BatchOptions<NoInfer<In>>,
  ): Promise<ReadonlyArray<{ readonly id: string }>> {
    this.#requireStarted()
    if (options !== undefined) requireFunction('sendBatch options', options)
    const messages = await Promise.all(
      payloads.map(async (payload, index) => {
        const own = this.#around(channel, options?.(payload, index))
        const message = await encodeMessage(channel, payload, this.service, own, this.#clock)
        this.#destinations.learn(channel, message.destination)
        return message
      }),
    )
    const outcomes = await this.#publisher.publish(messages)
    for (const [i, message] of messages.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined) throw new SendError(message.destination, message.id, outcome)
    }
    return messages
  }

  async request<In, Out, ReplyIn, Reply>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: RequestOptions<ReplyIn, Reply>,
  ): Promise<Reply> {
    this.#requireStarted()
    return this.#requests.request(channel, payload, options)
  }

  #makeRequests(replies: BinderOptions['replies']): Requests {
    return new Requests(replies, {
      service: this.service,
      instance: this.instance,
      clock: this.#clock,
      isRunning: (binding) => this.#runners.get(binding)?.status().state === 'running',
      send: (channel, payload, options) => this.send(channel, payload, options),
    })
  }

  async poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
    options?: PollOptions,
  ): Promise<boolean> {
    this.#requireStarted()
    return pullerOf(this.#runners, binding).poll(handler as PollHandler, options)
  }

  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    return this.#publisher.publish(messages, 'none')
  }

  bindings(): readonly BindingStatus[] {
    return [...this.#runners.values()].map((runner) => runner.status())
  }

  binding(name: string): BindingControl {
    return this.#runner(name)
  }

  #runner(name: string): Runner {
    const runner = this.#runners.get(name)
    if (runner === undefined)
      throw invalidOption('binding', name, `one of ${[...this.#runners.keys()].join(', ') || '(no bindings)'}`)
    return runner
  }

  async lag(name: string): Promise<number | undefined> {
    this.#requireStarted()
    return this.#runner(name).lag?.()
  }

  health(): BinderHealth {
    const transport = this.#transport.health()
    const bindings = this.bindings()
    const healthy = bindings.every(({ state }) => SETTLED.has(state))
    return {
      status: transport.status !== 'down' && healthy && this.#state === 'started' ? 'up' : 'down',
      transport,
      bindings,
    }
  }

  describe(): Topology {
    return describeTopology(this.service, this.#declared, this.#transport)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#state = 'closing'
    this.#requests.close()
    this.#unobserve?.()
    const runners = [...this.#runners.values()]
    await Promise.all(runners.map((runner) => runner.stop()))
    await finishesWithin(this.#clock, this.#drainTimeoutMs, this.#publisher.idle())
    await this.#transport.close()
    this.#state = 'closed'
  }

  /** The options with what `headers` says of the caller. */
  #around(channel: Pick<Channel, 'name'>, options?: SendOptions): SendOptions | undefined {
    return withAmbient(this.#ambient, channel?.name, options)
  }

  #requireStarted(): void {
    if (this.#state !== 'started') throw new BinderClosed(this.#state === 'idle' ? 'not started' : this.#state)
  }
}
