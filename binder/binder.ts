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
import { optionNames, refuseUnknown } from '../core/options.ts'
import { finishesWithin } from '../core/time-limit.ts'
import { type AmbientHeaders, checkAmbient, withAmbient } from './ambient-headers.ts'
import type { Binding } from './binding.ts'
import { type Channel, checkName, DEFAULT_PARTITIONS } from './channel.ts'
import { Consumer } from './consumer.ts'
import { Destinations, destinationSpecs, type Place } from './destinations.ts'
import { encodeMessage, type SendOptions } from './encode.ts'
import { BinderClosed, BinderNotReady, SendError } from './errors.ts'
import type { EncodedMessage } from './message.ts'
import { resolveConsumer, resolveSource } from './options.ts'
import { Poller } from './poller.ts'
import { Publisher } from './publisher.ts'
import type { BinderHealth, BindingControl, BindingStatus } from './status.ts'
import type { PublishOutcome, Transport } from './transport.ts'

export interface BinderOptions {
  /** This service's name: CloudEvents `source`, connection names, dead letter metadata. */
  readonly service: string
  readonly transport: Transport
  readonly bindings?: readonly Binding[] | undefined
  /** Channels that are sent to without a binding (`send`, an outbox): made to exist as they are declared. */
  readonly sends?: readonly Place[] | undefined
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
  /** Sends many, confirmed together. Messages of one key keep their order. @throws SendError for the first that failed */
  sendBatch<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
  ): Promise<ReadonlyArray<{ readonly id: string }>>
  /** For relays: publishes what is already encoded. One outcome per message; never rejects. */
  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]>
  bindings(): readonly BindingStatus[]
  /** @throws TypeError naming the bindings there are */
  binding(name: string): BindingControl
  health(): BinderHealth
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
  instance: true,
  logger: true,
  clock: true,
  maxInFlight: true,
  sendTimeoutMs: true,
  drainTimeoutMs: true,
  headers: true,
})

/** @throws TypeError / RangeError naming the option, for everything that is wrong without asking the broker */
export function createBinder(options: BinderOptions): Binder {
  return new TransportBinder(options)
}

/** As the user wants it. */
const SETTLED: ReadonlySet<string> = new Set(['running', 'paused', 'stopped'])

interface Runner {
  readonly autoStart: boolean
  status(): BindingStatus
  start(): Promise<void>
  stop(): Promise<void>
  pause(): void
  resume(): void
}

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
  readonly #runners: ReadonlyMap<string, Runner>
  #state: 'idle' | 'started' | 'closing' | 'closed' = 'idle'
  #closed: Promise<void> | undefined

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
    const publishTimeoutMs = requireInteger('createBinder.sendTimeoutMs', options.sendTimeoutMs ?? 30 * SECOND, 1)
    const maxInFlight = requireInteger('createBinder.maxInFlight', options.maxInFlight ?? 10_000, 1)
    const { service, instance } = this
    this.#transport.attach({ service, instance, logger: this.#logger, clock: this.#clock, publishTimeoutMs })
    const specs = destinationSpecs(options.bindings ?? [], options.sends ?? [])
    this.#destinations = new Destinations(this.#transport, specs, (name) => ({
      name,
      partitions: DEFAULT_PARTITIONS,
      groups: [],
    }))
    this.#publisher = new Publisher(this.#transport, this.#destinations, this.#clock, maxInFlight, publishTimeoutMs)
    this.#runners = this.#makeRunners(options.bindings ?? [], this.#destinations)
  }

  async start(): Promise<void> {
    if (this.#state !== 'idle') throw new BinderClosed(this.#state === 'started' ? 'already started' : this.#state)
    this.#state = 'started'
    try {
      const runners = [...this.#runners.values()].filter(({ autoStart }) => autoStart)
      await Promise.all(runners.map((runner) => runner.start()))
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
    const encoded = encodeMessage(channel, payload, this.service, this.#around(channel, options))
    const message = encoded instanceof Promise ? await encoded : encoded
    this.#destinations.learn(channel)
    await this.#publisher.send(message)
    return { id: message.id }
  }

  async sendBatch<In, Out>(
    channel: Channel<In, Out>,
    payloads: ReadonlyArray<NoInfer<In>>,
  ): Promise<ReadonlyArray<{ readonly id: string }>> {
    this.#requireStarted()
    const messages = await Promise.all(
      payloads.map(async (payload) => encodeMessage(channel, payload, this.service, this.#around(channel))),
    )
    this.#destinations.learn(channel)
    const outcomes = await this.#publisher.publish(messages)
    for (const [i, message] of messages.entries()) {
      const outcome = outcomes[i]
      if (outcome !== undefined) throw new SendError(message.destination, message.id, outcome)
    }
    return messages
  }

  publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    return this.#publisher.publish(messages)
  }

  bindings(): readonly BindingStatus[] {
    return [...this.#runners.values()].map((runner) => runner.status())
  }

  binding(name: string): BindingControl {
    const runner = this.#runners.get(name)
    if (runner === undefined)
      throw invalidOption('binding', name, `one of ${[...this.#runners.keys()].join(', ') || '(no bindings)'}`)
    return runner
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

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#state = 'closing'
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

  #makeRunners(bindings: readonly Binding[], destinations: Destinations): ReadonlyMap<string, Runner> {
    const runners = new Map<string, Runner>()
    const places = new Set<string>()
    for (const binding of bindings) {
      const runner = binding.kind === 'source' ? this.#poller(binding) : this.#consumer(binding, destinations, places)
      const { name } = runner.status()
      if (runners.has(name))
        throw invalidOption('createBinder.bindings', name, 'a name of its own for each binding (option `name`)')
      runners.set(name, runner)
    }
    return runners
  }

  #consumer(binding: Exclude<Binding, { kind: 'source' }>, destinations: Destinations, places: Set<string>): Consumer {
    const consumer = resolveConsumer(binding)
    const place = `${binding.input.name} / ${consumer.group}`
    if (consumer.group !== null && places.has(place)) {
      throw invalidOption(
        'createBinder.bindings',
        place,
        'one consumer per channel and group in a process; raise its `concurrency` or give another group',
      )
    }
    places.add(place)
    return new Consumer(binding, consumer, {
      service: this.service,
      clock: this.#clock,
      logger: this.#logger,
      transport: this.#transport,
      publisher: this.#publisher,
      destinations,
      drainTimeoutMs: this.#drainTimeoutMs,
      ambient: this.#ambient,
    })
  }

  #poller(binding: Extract<Binding, { kind: 'source' }>): Poller {
    return new Poller(binding, resolveSource(binding), {
      clock: this.#clock,
      logger: this.#logger,
      drainTimeoutMs: this.#drainTimeoutMs,
      ambient: this.#ambient,
      encode: (payload, options) => encodeMessage(binding.output, payload, this.service, options),
      publish: (messages) => this.#publisher.publish(messages),
    })
  }
}
