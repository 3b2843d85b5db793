import type { Binder } from '../binder/binder.ts'
import type { SinkBinding } from '../binder/bindings/declarations.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { Address } from './address.ts'
import { busBindings } from './bindings.ts'
import { builtInEventHandlers } from './built-in-event-handlers.ts'
import { type ReportOrder, SendReports } from './built-in-events.ts'
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
import type { BusChannel } from './channels.ts'
import { type BusEvent, type EventHandler, onEvent } from './define-event.ts'
import { BusError } from './errors.ts'
import { Handlers } from './handlers.ts'
import { InstanceLifecycle } from './instance-lifecycle.ts'
import { Members } from './members.ts'
import { type BusOptions, type ResolvedBus, resolveBus } from './options.ts'
import { Presence } from './presence.ts'
import { type AnyPublishOptions, EventPublisher } from './publisher.ts'
import { Receiver } from './receiver.ts'
import { ReportExchange } from './reports/report-exchange.ts'
import { type BusContext, busContext } from './shared-dependencies.ts'
import type { ConfigOptions, WatchedConfig } from './watched-config.ts'
import { WatchedConfigs } from './watched-configs.ts'

/** Creates a bus. Opens nothing. @throws TypeError / RangeError naming the option */
export function createBus(options: BusOptions): Bus {
  return new ServiceBus(resolveBus(options))
}

/** Assembles the parts, and starts and closes them. */
class ServiceBus implements Bus {
  readonly address: string
  readonly bindings: readonly SinkBinding[]
  readonly channels: readonly BusChannel[]
  readonly #context: BusContext
  readonly #handlers: Handlers
  readonly #configs: WatchedConfigs
  readonly #presence: Presence | undefined
  readonly #members: Members
  readonly #answers: Acknowledgements
  readonly #reports: ReportExchange
  readonly #receiver: Receiver
  readonly #publisher: EventPublisher
  readonly #lifeline: InstanceLifecycle
  readonly #stopTelemetry: (() => void) | undefined
  #state: 'idle' | 'started' | 'closed' = 'idle'
  #closed: Promise<void> | undefined

  constructor(options: ResolvedBus) {
    const context = busContext(options)
    const { clock, logger } = context
    this.#context = context
    this.address = context.self
    this.#handlers = new Handlers(logger)
    this.#configs = new WatchedConfigs(clock, logger)
    this.#presence = context.names.presence === undefined ? undefined : new Presence(context)
    this.#members = new Members(context.address, context.members, this.#presence, logger)
    this.#stopTelemetry = context.measures?.observe(() => this.#members.live())
    this.#answers = new Acknowledgements(context)
    this.#reports = new ReportExchange(context, (order, to) => this.publish(SendReports, order, { to }))
    this.#lifeline = new InstanceLifecycle(context, this.#configs, this.#presence)
    this.#receiver = new Receiver(context, this.#handlers, this.#answers)
    this.#publisher = new EventPublisher(context, {
      members: this.#members,
      pending: this.#answers.pending,
      lifeline: this.#lifeline,
      receiver: this.#receiver,
    })
    this.#addHandlers()
    this.bindings = busBindings(context, {
      receiver: this.#receiver,
      answers: this.#answers,
      watches: this.#reports.watches,
      presence: this.#presence,
    })
    this.channels = Object.freeze(Object.values(context.channels) as BusChannel[])
  }

  async start(binder: Binder): Promise<void> {
    if (this.#state !== 'idle')
      throw this.#closedError(this.#state === 'started' ? 'already started' : 'closed', 'start')
    this.#context.connection.attach(binder)
    this.#state = 'started'
    this.#receiver.open()
    await this.#lifeline.start()
    if (this.#closed !== undefined) throw this.#closedError('closed', 'start')
  }

  async ready({ acks = false, ...options }: ReadyOptions = {}): Promise<void> {
    this.#requireOpen()
    await this.#lifeline.ready(options)
    if (acks) await this.#context.connection.listeningForAnswers(options)
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
    const { measures } = this.#context
    return measures === undefined ? publish() : measures.publishing(nameOf(event), publish)
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
    return this.#reports.watches.watch(options)
  }

  health(): BusHealth {
    const { connection } = this.#context
    const counters = this.#context.counters.snapshot()
    if (this.#state !== 'started') return { status: this.#state, counters }
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
    this.#reports.close(this.#closedError('closed', 'watch'))
    this.#publisher.close(this.#closedError('closed'))
    this.#answers.pending.closeAll(this.#closedError('closed while waiting'))
    await this.#receiver.close(this.#context.drainTimeoutMs)
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

  #addHandlers(): void {
    const wanted = (order: ReportOrder): void => this.#reports.reporter.wanted(order)
    for (const [event, handler] of builtInEventHandlers(this.#context, this.#configs.all, wanted))
      this.#handlers.add(event, handler)
    for (const { event, handler } of this.#context.on) this.#handlers.add(event, handler)
  }
}

/** An invalid event is refused later, with its own message. */
function nameOf(event: { readonly name?: unknown } | undefined): string {
  return typeof event?.name === 'string' ? event.name : '(none)'
}
