/**
 * Spans and metrics of a binder, following OpenTelemetry's semantic conventions for messaging. Created only when the binder has
 * `telemetry`; otherwise none of this code runs.
 *
 * A message contains the context of the span that created it. A sender of a message that already has one (a relay, a dead letter,
 * an explicit header) leaves it unchanged and links to it.
 */
import type { Clock } from '../../core/clock.ts'
import {
  errorType,
  type Measure,
  type SpanOptions,
  type Telemetry,
  type TelemetryAttributes,
} from '../../core/telemetry-interface.ts'
import { readTraceContext, TRACEPARENT, type TraceContext, traceHeaders } from '../../core/trace-context.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { BindingStatus } from '../status.ts'
import type { Displacement, PublishOutcome, Transport, TransportDelivery } from '../transport/transport.ts'
import { type Ask, BindingGauges } from './binding-gauges.ts'
import {
  CONSUMED,
  type ConsumerName,
  DISPLACED,
  PROCESS_SECONDS,
  REDELIVERED,
  SEND_SECONDS,
  SENT,
  SETTLED,
} from './metrics.ts'

/** Adds trace headers unless the message has some or is forwarded unchanged. */
export function withTrace(message: EncodedMessage, context: TraceContext | undefined): EncodedMessage {
  if (context === undefined || message.headers[TRACEPARENT] !== undefined || isPassedOn(message)) return message
  return { ...message, headers: { ...message.headers, ...traceHeaders(context) } }
}

/** True for a dead letter, or the copy for a delayed attempt. */
function isPassedOn({ headers }: EncodedMessage): boolean {
  return headers['dead-letter-channel'] !== undefined || headers['concordat-retry-attempts'] !== undefined
}

/** Returns the broker of each destination, with the names of the conventions: `kafka`, `rabbitmq`, `memory`. */
export function systemsOf(transport: Pick<Transport, 'name' | 'nameOf'>): (destination: string) => string {
  return (destination) => transport.nameOf?.(destination) ?? transport.name
}

export class BinderTelemetry {
  readonly #telemetry: Telemetry
  readonly #systemOf: (destination: string) => string
  readonly #clock: Clock
  readonly #sent: Measure
  readonly #sendSeconds: Measure
  readonly #consumed: Measure
  readonly #processSeconds: Measure
  readonly #settled: Measure
  readonly #redelivered: Measure
  readonly #displaced: Measure

  constructor(telemetry: Telemetry, systemOf: (destination: string) => string, clock: Clock) {
    this.#telemetry = telemetry
    this.#systemOf = systemOf
    this.#clock = clock
    this.#sent = telemetry.counter(SENT)
    this.#sendSeconds = telemetry.histogram(SEND_SECONDS)
    this.#consumed = telemetry.counter(CONSUMED)
    this.#processSeconds = telemetry.histogram(PROCESS_SECONDS)
    this.#settled = telemetry.counter(SETTLED)
    this.#redelivered = telemetry.counter(REDELIVERED)
    this.#displaced = telemetry.counter(DISPLACED)
  }

  /** Wraps a call of `publish` in a span; the messages carry its context. */
  async send(
    messages: readonly EncodedMessage[],
    parent: SpanOptions['parent'],
    publish: (messages: readonly EncodedMessage[]) => Promise<readonly PublishOutcome[]>,
  ): Promise<readonly PublishOutcome[]> {
    if (messages.length === 0) return []
    const created = messages.flatMap(({ headers }) => readTraceContext(headers) ?? [])
    const destinations = messages.map((message) => message.destination)
    const destination = onlyOne(destinations)
    const span = this.#telemetry.span(destination === undefined ? 'send' : `send ${destination}`, {
      kind: created.length === messages.length || messages.every(isPassedOn) ? 'client' : 'producer',
      parent,
      links: created,
      attributes: {
        'messaging.system': onlyOne(destinations.map(this.#systemOf)),
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        'messaging.destination.name': destination,
        ...(messages.length === 1
          ? { 'messaging.message.id': messages[0]?.id }
          : { 'messaging.batch.message_count': messages.length }),
      },
    })
    const { context } = span
    const outcomes = await publish(messages.map((message) => withTrace(message, context)))
    span.end(outcomes.find((outcome) => outcome !== undefined))
    return outcomes
  }

  /** Records messages that a transaction will store; a relay sends them after the commit. */
  created(messages: readonly EncodedMessage[]): EncodedMessage[] {
    return messages.map((message) => {
      const span = createSpan(this.#telemetry, message.destination, message.id)
      span.end()
      return withTrace(message, span.context)
    })
  }

  /** Wraps a handler call in a span, active inside it, in the trace of the message. @throws the errors of `work` */
  async process(
    delivery: TransportDelivery,
    consumer: ConsumerName,
    attempt: number,
    work: () => unknown,
  ): Promise<unknown> {
    const { message } = delivery
    return this.#around(consumer, work, {
      kind: 'consumer',
      parent: readTraceContext(message.headers) ?? 'none',
      attributes: {
        ...this.#processAttributes(consumer),
        'messaging.message.id': message.id,
        'messaging.destination.partition.id': partitionOf(delivery.position),
        'concordat.attempt': attempt,
      },
    })
  }

  /** Records a message that no handler receives. */
  unreadable({ message }: TransportDelivery, consumer: ConsumerName, error: unknown): void {
    const parent = readTraceContext(message.headers) ?? 'none'
    const attributes = { ...this.#processAttributes(consumer), 'messaging.message.id': message.id }
    this.#telemetry.span(`process ${consumer.destination}`, { kind: 'consumer', parent, attributes }).end(error)
  }

  /** Same as `process`, for several messages at once: a separate trace, linked to theirs. */
  async processBatch(
    deliveries: readonly TransportDelivery[],
    consumer: ConsumerName,
    work: () => unknown,
  ): Promise<void> {
    await this.#around(consumer, work, {
      kind: 'consumer',
      parent: 'none',
      links: deliveries.flatMap(({ message }) => readTraceContext(message.headers) ?? []),
      attributes: { ...this.#processAttributes(consumer), 'messaging.batch.message_count': deliveries.length },
    })
  }

  async #around(consumer: ConsumerName, work: () => unknown, options: SpanOptions): Promise<unknown> {
    const span = this.#telemetry.span(`process ${consumer.destination}`, options)
    const startedAt = this.#clock.monotonic()
    try {
      const result = await span.run(async () => work())
      span.end()
      this.#processSeconds((this.#clock.monotonic() - startedAt) / 1_000, this.#processAttributes(consumer))
      return result
    } catch (error) {
      span.end(error)
      const attributes = { ...this.#processAttributes(consumer), 'error.type': errorType(error) }
      this.#processSeconds((this.#clock.monotonic() - startedAt) / 1_000, attributes)
      throw error
    }
  }

  /** Records the broker's answer for a message. */
  wasSent(message: EncodedMessage, outcome: PublishOutcome, elapsedMs: number): void {
    const attributes = {
      'messaging.system': this.#systemOf(message.destination),
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      ...boundedDestination(message),
      ...(outcome !== undefined && { 'error.type': outcome.kind }),
    }
    this.#sent(1, attributes)
    this.#sendSeconds(elapsedMs / 1_000, attributes)
  }

  /** Records the end of a delivery in this process. */
  wasSettled(delivery: TransportDelivery, consumer: ConsumerName, outcome: string): void {
    const attributes = this.#consumerAttributes(consumer)
    this.#consumed(1, { ...attributes, 'messaging.operation.name': 'process' })
    this.#settled(1, { ...attributes, 'concordat.outcome': outcome })
    if (delivery.redelivered === true) this.#redelivered(1, attributes)
  }

  /** Records that the group does not continue at its position. */
  displaced(
    destination: string,
    group: string | null,
    { skipped, repeated, isLoss }: Pick<Displacement, 'skipped' | 'repeated' | 'isLoss'>,
  ): void {
    const attributes = {
      'messaging.system': this.#systemOf(destination),
      'messaging.destination.name': destination,
      ...(group === null ? {} : { 'messaging.consumer.group.name': group }),
    }
    if (skipped > 0) this.#displaced(skipped, { ...attributes, 'concordat.outcome': isLoss ? 'lost' : 'left-out' })
    if (repeated > 0) this.#displaced(repeated, { ...attributes, 'concordat.outcome': 'repeated' })
  }

  /**
   * @param lag reads the lag from the broker
   * @param deadLetters reads the number of dead letters from the broker
   * @returns a function that stops it
   */
  observe(bindings: () => readonly BindingStatus[], lag: Ask, deadLetters: Ask): () => void {
    return new BindingGauges(this.#telemetry, bindings, (consumer) => this.#consumerAttributes(consumer)).start(
      lag,
      deadLetters,
    )
  }

  #processAttributes(consumer: ConsumerName): TelemetryAttributes {
    return {
      ...this.#consumerAttributes(consumer),
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
    }
  }

  #consumerAttributes({ destination, group }: ConsumerName): TelemetryAttributes {
    return {
      'messaging.system': this.#systemOf(destination),
      'messaging.destination.name': destination,
      ...(group !== null && { 'messaging.consumer.group.name': group }),
    }
  }
}

/** Creates the span of a message that is stored before it is sent. */
export function createSpan(
  telemetry: Telemetry,
  destination: string,
  id?: string,
  parent: SpanOptions['parent'] = 'active',
) {
  return telemetry.span(`create ${destination}`, {
    kind: 'producer',
    parent,
    attributes: {
      'messaging.system': 'outbox',
      'messaging.operation.name': 'create',
      'messaging.operation.type': 'create',
      'messaging.destination.name': destination,
      'messaging.message.id': id,
    },
  })
}

/** Returns the channel instead of a destination named at run time, of which there may be arbitrarily many. */
function boundedDestination({ destination, type }: EncodedMessage): TelemetryAttributes {
  const isBounded = destination === type || /\.(?:dlq|retry)$/.test(destination)
  return isBounded ? { 'messaging.destination.name': destination } : { 'messaging.destination.template': type }
}

function onlyOne(names: readonly string[]): string | undefined {
  const [first] = names
  return names.every((name) => name === first) ? first : undefined
}

/** Kafka and memory contain the partition in the position. */
function partitionOf(position: string): string | undefined {
  return /^partition (\d+)/.exec(position)?.[1]
}
