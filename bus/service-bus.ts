import type { Binder } from '../binder/binder.ts'
import { sink } from '../binder/bindings/binding.ts'
import { type SinkBinding } from '../binder/bindings/declarations.ts'
import { type HandlerContext } from '../binder/bindings/handler-contexts.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import { type Address, formatAddress } from './address.ts'
import { Answers } from './answers.ts'
import { Authorization } from './authorize.ts'
import { type ReportOrder, SendReports } from './built-in.ts'
import type {
  AckedPublishOptions,
  Acknowledgement,
  Bus,
  BusHealth,
  PublishOptions,
  ReadyOptions,
  ReportWatch,
  ReportWatchOptions,
} from './bus.ts'
import { type BusChannel, type BusChannels, busChannels } from './channels.ts'
import type { ConfigOptions, WatchedConfig } from './config.ts'
import { Configs } from './configs.ts'
import { type BusBindings, Connection } from './connection.ts'
import { controls } from './controls.ts'
import { Counters } from './counters.ts'
import { isReport } from './envelope.ts'
import { BusError } from './errors.ts'
import { type BusEvent, type EventHandler, onEvent } from './event.ts'
import { Guard } from './guard.ts'
import { Handlers } from './handlers.ts'
import { Lifeline } from './lifeline.ts'
import { Members } from './members.ts'
import { type BusOptions, type ResolvedBus, resolveBus } from './options.ts'
import { Presence } from './presence.ts'
import { type AnyPublishOptions, Publisher } from './publisher.ts'
import { Receiver } from './receiver.ts'
import { Reports } from './reports/reports.ts'
import { SeenEvents } from './seen.ts'
import { Signer } from './signature.ts'
import { BusTelemetry } from './telemetry.ts'

/** @throws TypeError / RangeError naming the option. Opens nothing. */
export function createBus(options: BusOptions): Bus {
  return new ServiceBus(resolveBus(options))
}

/** Puts the parts together and owns their life. */
class ServiceBus implements Bus {
  readonly address: string
  readonly bindings: readonly SinkBinding[]
  readonly channels: readonly BusChannel[]
  readonly #options: ResolvedBus
  readonly #counters: Counters
  readonly #connection: Connection
  readonly #handlers: Handlers
  readonly #configs: Configs
  readonly #presence: Presence | undefined
  readonly #members: Members
  readonly #answers: Answers
  readonly #reports: Reports
  readonly #receiver: Receiver
  readonly #publisher: Publisher
  readonly #lifeline: Lifeline
  readonly #measures: BusTelemetry | undefined
  readonly #stopTelemetry: (() => void) | undefined
  #state: 'idle' | 'started' | 'closed' = 'idle'
  #latestTime = 0
  #closed: Promise<void> | undefined

  constructor(options: ResolvedBus) {
    const { address, clock, logger, handlerTimeoutMs } = options
    const channels = busChannels(options.channel)
    const names = bindingNames(channels, options)
    const { telemetry } = options
    const measures = telemetry === undefined ? undefined : new BusTelemetry(telemetry, clock)
    const counters = new Counters(clock, logger, measures)
    const signer = new Signer(options.secrets, options.channel)
    const shared = {
      ...options,
      counters,
      measures,
      signer,
      connection: new Connection(names, clock),
      guard: new Guard({ ...options, signer, counters, self: formatAddress(address) }),
      authorization: new Authorization(options.authorize, clock, handlerTimeoutMs),
      nextTime: () => this.#nextTime(),
    }
    this.#options = options
    this.address = formatAddress(address)
    this.#counters = counters
    this.#connection = shared.connection
    this.#handlers = new Handlers(logger)
    this.#configs = new Configs(clock, logger)
    this.#presence = options.members === undefined ? new Presence({ ...shared, channel: channels.presence }) : undefined
    this.#members = new Members(address, options.members, this.#presence, logger)
    this.#measures = measures
    this.#stopTelemetry = measures?.observe(() => this.#members.live())
    this.#answers = new Answers({ ...shared, channel: channels.acks })
    this.#reports = new Reports({
      ...shared,
      channel: channels.acks,
      ask: (order, to) => this.publish(SendReports, order, { to }),
    })
    this.#lifeline = new Lifeline({ ...shared, presence: this.#presence, configs: this.#configs })
    this.#receiver = new Receiver({
      ...shared,
      seen: new SeenEvents({
        clock,
        windowMs: options.dedupeWindowMs,
        maxEvents: options.dedupeMaxEvents,
        own: { sender: this.address, maxSkewMs: options.maxSkewMs },
      }),
      handlers: this.#handlers,
      answer: (event, outcome, again) => this.#answers.give(event, outcome, again),
    })
    this.#publisher = new Publisher({
      ...shared,
      channel: channels.events,
      members: this.#members,
      pending: this.#answers.pending,
      rollCall: () => this.#lifeline.rollCall(),
      handleOwn: (event, body) => void this.#receiver.accept(event, body),
      requireOpen: () => this.#requireOpen(),
    })
    this.#addHandlers(names)
    this.bindings = this.#makeBindings(channels, names)
    this.channels = Object.freeze(Object.values(channels) as BusChannel[])
  }

  async start(binder: Binder): Promise<void> {
    if (this.#state !== 'idle')
      throw this.#closedError(this.#state === 'started' ? 'already started' : 'closed', 'start')
    this.#connection.attach(binder)
    this.#state = 'started'
    this.#receiver.open()
    await this.#lifeline.start()
    if (this.#closed !== undefined) throw this.#closedError('closed', 'start')
  }

  async ready({ acks = false, ...options }: ReadyOptions = {}): Promise<void> {
    this.#requireOpen()
    await this.#lifeline.ready(options)
    if (acks) await this.#connection.listeningForAnswers(options)
  }

  publish<In, Out>(
    event: BusEvent<In, Out>,
    payload: NoInfer<In>,
    options: AckedPublishOptions,
  ): Promise<Acknowledgement>
  publish<In, Out>(event: BusEvent<In, Out>, payload: NoInfer<In>, options: PublishOptions): Promise<{ id: string }>
  async publish(
    event: BusEvent<never, never>,
    payload: unknown,
    options: AnyPublishOptions,
  ): Promise<Acknowledgement | { readonly id: string }> {
    this.#requireOpen()
    const publish = (): Promise<Acknowledgement | { id: string }> =>
      this.#publisher.publish(event as unknown as BusEvent, payload, options)
    return this.#measures === undefined ? publish() : this.#measures.publishing(nameOf(event), publish)
  }

  on<In, Out>(event: BusEvent<In, Out>, handler: EventHandler<Out>): () => void {
    const added = onEvent(event, handler)
    return this.#handlers.add(added.event, added.handler)
  }

  config<S extends StandardSchemaV1>(
    name: string,
    options: ConfigOptions<S>,
  ): WatchedConfig<StandardSchemaV1.InferOutput<S>> {
    return this.#configs.add(name, options)
  }

  members(): Promise<readonly Address[]> {
    return this.#members.live()
  }

  async watch(options?: ReportWatchOptions): Promise<ReportWatch> {
    this.#requireOpen()
    return this.#reports.watching.watch(options)
  }

  health(): BusHealth {
    const counters = this.#counters.snapshot()
    if (this.#state !== 'started') return { status: this.#state, counters }
    const connection = this.#connection
    const detail =
      connection.trouble ?? connection.away ?? this.#configs.trouble ?? this.#twinTrouble ?? this.#receiver.trouble
    return detail === undefined ? { status: 'up', counters } : { status: 'down', detail, counters }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#stopTelemetry?.()
    const wasStarted = this.#state === 'started'
    this.#state = 'closed'
    this.#reports.close()
    this.#publisher.close(this.#closedError('closed'))
    this.#answers.pending.closeAll(this.#closedError('closed while waiting'))
    await this.#receiver.close(this.#options.drainTimeoutMs)
    await this.#lifeline.close()
    if (wasStarted) await this.#presence?.goodbye()
  }

  get #twinTrouble(): string | undefined {
    return this.#presence?.hasTwin === true ? `another process has the address ${this.address}` : undefined
  }

  #requireOpen(): void {
    if (this.#state !== 'started') throw this.#closedError(this.#state === 'idle' ? 'not started' : 'closed')
  }

  #closedError(state: BusError<'bus.closed'>['state'], call: string = 'publish'): BusError {
    return new BusError('bus.closed', { state, path: `bus("${this.address}").${call}` })
  }

  /**
   * Two events of one instance never have one time: it orders them. Times of a clock that was ahead for a moment are given
   * up, since receivers believe none of them: with those that follow they would drop everything until that time has come.
   */
  #nextTime(): number {
    const { clock, maxSkewMs, secrets } = this.#options
    const now = clock.now()
    const isBelieved = secrets.length === 0 || this.#latestTime - now <= maxSkewMs
    this.#latestTime = isBelieved ? Math.max(this.#latestTime + 1, now) : now
    return this.#latestTime
  }

  #makeBindings({ events, acks, presence }: BusChannels, names: BusBindings): readonly SinkBinding[] {
    const once = { maxAttempts: 1, onFailure: 'drop' } as const
    const bindings = [
      sink(events, { ...once, name: names.events }, (body, context) => this.#receiver.arrived(body, context)),
      sink(acks, { ...once, name: names.acks, autoStart: false }, (body, context) => {
        if (isReport(context)) this.#reports.watching.arrived(body, context)
        else this.#answers.arrived(body, context)
      }),
    ]
    if (names.presence !== undefined) {
      const heard = (body: Uint8Array, context: HandlerContext): void => this.#presence?.arrived(body, context)
      bindings.push(sink(presence, { ...once, name: names.presence }, heard))
    }
    // The binder cannot read it: a tombstone, or a payload in a version or form of its own. No bus wrote that.
    const unreadable = async (_error: Error, { id }: HandlerContext): Promise<'handled'> => {
      this.#counters.dropped('malformed', { messageId: id })
      return 'handled'
    }
    return Object.freeze(bindings.map((binding) => Object.freeze({ ...binding, unreadable })))
  }

  #addHandlers(names: BusBindings): void {
    const { logger, setLevel, onShutdown, on } = this.#options
    const ownBindings = new Set(Object.values(names).filter((name) => name !== undefined))
    const binder = (): Binder => this.#connection.binder
    const configs = this.#configs.all
    const wanted = (order: ReportOrder): void => this.#reports.reporter.wanted(order)
    for (const [event, handler] of controls({ logger, setLevel, onShutdown, configs, ownBindings, binder, wanted }))
      this.#handlers.add(event, handler)
    for (const { event, handler } of on) this.#handlers.add(event, handler)
  }
}

/** An invalid event is refused later, with its own message. */
function nameOf(event: { readonly name?: unknown } | undefined): string {
  return typeof event?.name === 'string' ? event.name : '(none)'
}

function bindingNames(channels: BusChannels, { members }: ResolvedBus): BusBindings {
  const { events, acks, presence } = channels
  return { events: events.name, acks: acks.name, presence: members === undefined ? presence.name : undefined }
}
