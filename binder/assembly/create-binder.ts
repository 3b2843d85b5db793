/** The binder of `createBinder`: checks the options, assembles the parts, starts and closes them. */

import { type Clock, SECOND } from '../../core/clock.ts'
import { requireMayStart } from '../../core/declarations-only.ts'
import { invalidOption, isRetryable, requireInteger, requireStorable } from '../../core/errors.ts'
import { eventLoopBlockedMs, watchEventLoop } from '../../core/event-loop.ts'
import { newId } from '../../core/ids.ts'
import type { Logger } from '../../core/logger.ts'
import { optionNames, refuseUnknown, requireFunction, requireList, wrongKind } from '../../core/option-checks.ts'
import { RUNTIME_NAMES, resolveRuntime } from '../../core/runtime-options.ts'
import { checkTelemetry, withActiveSpan } from '../../core/telemetry-interface.ts'
import { finishesWithin } from '../../core/time-limit.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import type { Binder, BinderOptions } from '../binder.ts'
import type { KnownNames } from '../bindings/binding-name-types.ts'
import type { PollBinding } from '../bindings/declarations.ts'
import type { Handler } from '../bindings/handler-types.ts'
import type { PollOptions } from '../bindings/pollable.ts'
import { nameOfBinding } from '../bindings/resolve-options.ts'
import { type Channel, checkName } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { type BatchOptions, encodeMessage, type SendOptions } from '../channel/message-codec.ts'
import { OutageLog } from '../consuming/outage-log.ts'
import type { PollHandler } from '../consuming/puller.ts'
import { BinderError, notReady, SendError } from '../errors.ts'
import { checkMiddleware } from '../middleware/middleware.ts'
import { Requester, type RequestOptions } from '../requests/requester.ts'
import { type AmbientHeaders, checkAmbient, withAmbient } from '../sending/ambient-headers.ts'
import { assumedSpec, destinationSpecs, ProvisionedDestinations, specOf } from '../sending/destination-provisioning.ts'
import { Publisher } from '../sending/publisher.ts'
import { type BinderHealth, type BindingControl, type BindingStatus, isAsTold, slownessOf } from '../status.ts'
import { BinderTelemetry, systemsOf } from '../telemetry/telemetry.ts'
import type { DestinationSpec, PublishOutcome, Transport } from '../transport/transport.ts'
import { requireFreeNames } from './channel-name-conflicts.ts'
import { claim, requireFree } from './claim-transport.ts'
import { makeRunners, pullerOf, type Runner, startRunners } from './make-runners.ts'
import { type Declared, describeTopology, plannedSpecs, type Topology } from './topology.ts'

const NAMES = optionNames<BinderOptions>({
  service: true,
  transport: true,
  bindings: true,
  sends: true,
  unlisted: true,
  replies: true,
  instance: true,
  ...RUNTIME_NAMES,
  maxInFlight: true,
  sendTimeoutMs: true,
  drainTimeoutMs: true,
  headers: true,
  middleware: true,
  batchMiddleware: true,
  telemetry: true,
})

const READY_NAMES = optionNames<NonNullable<Parameters<Binder['ready']>[0]>>({ timeoutMs: true, signal: true })

export class TransportBinder implements Binder {
  readonly service: string
  readonly instance: string
  readonly #transport: Transport
  readonly #publisher: Publisher
  readonly #destinations: ProvisionedDestinations
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #drainTimeoutMs: number
  readonly #ambient: AmbientHeaders | undefined
  readonly #telemetry: BinderTelemetry | undefined
  readonly #handlerLogger: Logger
  readonly #runners: ReadonlyMap<string, Runner>
  readonly #declared: Declared
  readonly #requests: Requester
  #state: 'idle' | 'started' | 'closing' | 'closed' = 'idle'
  #closed: Promise<void> | undefined
  #unobserve: (() => void) | undefined

  constructor(options: BinderOptions) {
    refuseUnknown('createBinder', options, NAMES)
    this.service = checkName('createBinder.service', options.service, 100)
    this.instance = requireStorable(
      'createBinder.instance',
      options.instance ?? `${options.service}-${newId().slice(-12)}`,
    )
    if (typeof options.transport?.subscribe !== 'function') {
      throw invalidOption('createBinder.transport', options.transport, 'a transport such as memoryTransport()')
    }
    this.#transport = requireFree('createBinder.transport', options.transport)
    const { logger, clock } = resolveRuntime('createBinder', options)
    this.#logger = logger
    this.#clock = clock
    this.#drainTimeoutMs = requireInteger('createBinder.drainTimeoutMs', options.drainTimeoutMs ?? 10 * SECOND, 0)
    this.#ambient = checkAmbient('createBinder.headers', options.headers)
    const telemetry = checkTelemetry('createBinder.telemetry', options.telemetry)
    this.#telemetry = telemetry && new BinderTelemetry(telemetry, systemsOf(this.#transport), this.#clock)
    this.#handlerLogger = withActiveSpan(this.#logger, telemetry)
    const sendTimeoutMs = requireInteger('createBinder.sendTimeoutMs', options.sendTimeoutMs ?? 30 * SECOND, 1)
    const maxInFlight = requireInteger('createBinder.maxInFlight', options.maxInFlight ?? 10_000, 1)
    const { service, instance } = this
    this.#transport.attach({ service, instance, logger: this.#logger, clock: this.#clock })
    this.#requests = this.#makeRequests(options.replies)
    const declared = requireList('createBinder.bindings', options.bindings, 'sink(), processor() or source()')
    const bindings = [...declared, ...this.#requests.bindings]
    const specs = destinationSpecs(bindings, requireList('createBinder.sends', options.sends, 'defineChannel()'))
    this.#declared = { bindings, destinations: [...specs.values()] }
    this.#destinations = new ProvisionedDestinations(this.#transport, specs, unlistedSpec(options.unlisted))
    this.#publisher = new Publisher({
      transport: this.#transport,
      destinations: this.#destinations,
      clock: this.#clock,
      maxInFlight,
      timeoutMs: sendTimeoutMs,
      telemetry: this.#telemetry,
    })
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
      outage: new OutageLog(this.#logger),
      middleware: checkMiddleware('createBinder.middleware', options.middleware),
      batchMiddleware: checkMiddleware('createBinder.batchMiddleware', options.batchMiddleware),
    })
    requireFreeNames(this.#declared, this.#transport)
    claim(this.#transport, `the binder "${this.instance}"`)
  }

  async start(): Promise<void> {
    const startOthers = await this.startFirst(this.#runners)
    await startOthers()
  }

  /**
   * Starts with some of the bindings, whose parts the handlers of the others use. @param first has their names
   * @returns a function that starts the others @throws the errors of `start`; everything is closed then
   */
  async startFirst(first: { has(binding: string): boolean }): Promise<() => Promise<void>> {
    if (this.#state !== 'idle')
      throw this.#notStarted('start', this.#state === 'started' ? 'already started' : this.#state)
    requireMayStart(`binder("${this.service}").start`)
    this.#state = 'started'
    const stopWatching = watchEventLoop()
    const stopReading = this.#telemetry?.observe(
      () => this.bindings(),
      (name) => this.lag(name),
      (name) => this.deadLetters(name),
    )
    this.#unobserve = () => {
      stopReading?.()
      stopWatching()
    }
    const start = (isFirst: boolean) => (): Promise<void> => {
      const chosen = [...this.#runners].filter(([name]) => first.has(name) === isFirst)
      return startRunners(new Map(chosen), this.#logger)
    }
    await this.#orClose(() => this.#provision())
    await this.#orClose(start(true))
    return () => this.#orClose(start(false))
  }

  async #orClose(step: () => Promise<void>): Promise<void> {
    try {
      if (this.#closed === undefined) await step()
      if (this.#closed !== undefined) throw this.#notStarted('start', 'closing')
    } catch (error) {
      // A transport that is closed during a start rejects with its own error.
      const isOvertaken = this.#closed !== undefined
      await this.close()
      throw isOvertaken ? this.#notStarted('start', 'closing') : error
    }
  }

  /**
   * Provisions all destinations at once, so that one error can name all mismatches. @throws TransportError that no retry fixes
   */
  async #provision(): Promise<void> {
    const specs = [...plannedSpecs(this.#declared).values()]
    if (specs.length === 0) return
    try {
      await this.#destinations.provision(specs)
    } catch (err) {
      if (!isRetryable(err)) throw err
      this.#logger.warn({ err }, 'not prepared yet: bindings and senders try again')
    }
  }

  async ready(options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined } = {}): Promise<void> {
    refuseUnknown('ready', options, READY_NAMES)
    const timeoutMs = requireInteger('ready.timeoutMs', options.timeoutMs ?? 30 * SECOND, 0)
    const deadline = this.#clock.monotonic() + timeoutMs
    for (;;) {
      if (this.#state === 'closing' || this.#state === 'closed') throw this.#notStarted('ready', this.#state)
      const waiting = this.bindings().filter(({ state }) => !isAsTold(state))
      if (waiting.length === 0) return
      if (this.#clock.monotonic() >= deadline) throw notReady(waiting)
      await this.#clock.sleep(20, options.signal)
    }
  }

  async send<In, Out>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options?: SendOptions,
  ): Promise<{ readonly id: string }> {
    this.#requireSending('send')
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
    this.#requireSending('sendBatch')
    if (!Array.isArray(payloads)) throw wrongKind('sendBatch payloads', payloads, 'an array of payloads')
    if (options !== undefined) requireFunction('sendBatch options', options)
    const encoded = payloads.map((payload, index) => this.#encoded(channel, payload, () => options?.(payload, index)))
    const messages = encoded.every(isThere) ? encoded : await Promise.all(encoded.map((one) => Promise.resolve(one)))
    for (const { destination } of messages) this.#destinations.learn(channel, destination)
    const outcomes = await this.#publisher.publish(messages)
    for (const [i, message] of messages.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined) throw new SendError(message.destination, message.id, outcome)
    }
    return messages.map(({ id }) => ({ id }))
  }

  async request<In, Out, ReplyIn, Reply>(
    channel: Channel<In, Out>,
    payload: NoInfer<In>,
    options: RequestOptions<ReplyIn, Reply>,
  ): Promise<Reply> {
    this.#requireSending('request')
    return this.#requests.request(channel, payload, options)
  }

  #makeRequests(replies: BinderOptions['replies']): Requester {
    return new Requester(replies, {
      service: this.service,
      instance: this.instance,
      clock: this.#clock,
      isReceiving: (binding) => this.#runners.get(binding)?.isReceiving === true,
      send: (channel, payload, options) => this.send(channel, payload, options),
    })
  }

  async poll<Payload, Context>(
    binding: PollBinding<Payload, Context>,
    handler: Handler<NoInfer<Payload>, NoInfer<Context>, void>,
    options?: PollOptions,
  ): Promise<boolean> {
    this.#requireStarted('poll')
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
    this.#requireStarted('lag')
    return this.#runner(name).lag?.()
  }

  async deadLetters(name: string): Promise<number | undefined> {
    this.#requireStarted('deadLetters')
    return this.#runner(name).deadLetters?.()
  }

  health(): BinderHealth {
    const transport = this.#publisher.health()
    const bindings = this.bindings()
    const healthy = bindings.every(({ state }) => isAsTold(state))
    const blockedMs = eventLoopBlockedMs()
    const isUp = transport.status !== 'down' && healthy && this.#state === 'started'
    const detail = isUp ? slownessOf(bindings, blockedMs) : undefined
    const status = !isUp ? 'down' : detail === undefined ? 'up' : 'degraded'
    return { status, ...(detail !== undefined && { detail }), transport, bindings, blockedMs }
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
    this.#unobserve?.()
    const replies = this.#requests.bindings.map((binding) => this.#runner(nameOfBinding(binding)))
    const others = [...this.#runners.values()].filter((runner) => !replies.includes(runner))
    await Promise.all(others.map((runner) => runner.stop()))
    this.#requests.close()
    await Promise.all(replies.map((runner) => runner.stop()))
    await finishesWithin(this.#clock, this.#drainTimeoutMs, this.#publisher.idle())
    await this.#transport.close()
    this.#state = 'closed'
  }

  /** Encodes a message of a batch. An error becomes a rejection, because other messages of the batch may be under way. */
  #encoded<In, Out>(
    channel: Channel<In, Out>,
    payload: In,
    options: () => SendOptions | undefined,
  ): EncodedMessage | Promise<EncodedMessage> {
    try {
      return encodeMessage(channel, payload, this.service, this.#around(channel, options()), this.#clock)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Adds the headers of the option `headers` to the caller's options. */
  #around(channel: Pick<Channel, 'name'>, options?: SendOptions): SendOptions | undefined {
    return withAmbient(this.#ambient, channel?.name, options)
  }

  /** Handlers that run while the binder closes may send and request until they have ended. */
  #requireSending(call: string): void {
    const isDraining = this.#state === 'closing' && this.bindings().some(({ running }) => running > 0)
    if (!isDraining) this.#requireStarted(call)
  }

  #requireStarted(call: string): void {
    if (this.#state !== 'started') throw this.#notStarted(call, this.#state === 'idle' ? 'not started' : this.#state)
  }

  #notStarted(call: string, state: BinderError<'binder.closed'>['state']): BinderError {
    return new BinderError('binder.closed', { state, path: `binder("${this.service}").${call}` })
  }
}

function isThere<T>(value: T | Promise<T>): value is T {
  return !(value instanceof Promise)
}

/** Returns the spec of a destination without a declaration. */
function unlistedSpec(unlisted: BinderOptions['unlisted']): (name: string) => DestinationSpec {
  if (unlisted !== undefined) requireFunction('createBinder.unlisted', unlisted)
  return (name) => {
    const place = notAwaited(unlisted?.(name))
    if (place === undefined) return assumedSpec(name)
    return specOf({ ...place, name })
  }
}

/**
 * Creates a binder. If the names of all its bindings are literals, `binding`, `lag` and `poll` accept only these.
 * @throws TypeError / RangeError naming the option, for every error that needs no broker
 */
export function createBinder<
  Name extends string = never,
  Reply extends string = never,
  Service extends string = string,
>(options: BinderOptions<Name, Reply, Service>): Binder<KnownNames<Name | `${Reply}.${Service}`>> {
  return new TransportBinder(options)
}
