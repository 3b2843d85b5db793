import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { partitionOf } from '../channel/partition.ts'
import type { TransportError } from '../errors.ts'
import type { PublishOutcome, PublishUntil } from '../transport/transport.ts'
import type { Envelope, Producer } from './driver.ts'
import { isDenied, remedyOf, textOf, toTransportError, transportError } from './errors.ts'
import type { KafkaSettings } from './settings.ts'
import type { Topics } from './topics.ts'
import { toDelayed } from './wire/delay-topic.ts'
import { encodeRecord, recordBytes } from './wire/record.ts'
import { halve, splitRequests } from './wire/split-produce-requests.ts'

const RETRY_PAUSE_MS = 100

type PublisherSettings = Pick<KafkaSettings, 'maxMessageBytes' | 'springHeaderTypes'>

export interface PublisherParts {
  readonly settings: PublisherSettings
  readonly topics: Topics
  /** The publisher closes it. */
  readonly producer: Producer
  readonly clock: Clock
}

interface RequestTerms {
  /** On the monotonic clock. */
  readonly until: number
  readonly onConfirmed: ((envelope: Envelope) => void) | undefined
}

/** Publishes lists of messages: acks from all in-sync replicas, one outcome per message, never rejects. */
export class KafkaPublisher {
  readonly #settings: PublisherSettings
  readonly #topics: Topics
  readonly #clock: Clock
  readonly #producer: Producer
  #closed = false

  constructor({ settings, topics, producer, clock }: PublisherParts) {
    this.#settings = settings
    this.#topics = topics
    this.#clock = clock
    this.#producer = producer
  }

  /** Before it is published: why it never can be. */
  cannotTake(message: EncodedMessage): TransportError | undefined {
    const wrapped = this.#wrap(message, 0, undefined)
    return wrapped instanceof Error ? wrapped : undefined
  }

  publish(messages: readonly EncodedMessage[], until: PublishUntil = {}): Promise<readonly PublishOutcome[]> {
    if (!messages.some(({ notBefore }) => notBefore !== undefined)) return this.#publish(messages, until)
    const now = this.#clock.now()
    const delayed = messages.map((message) =>
      (message.notBefore ?? 0) > now ? toDelayed(message, now) : { message, tier: undefined },
    )
    return this.#publish(
      delayed.map(({ message }) => message),
      until,
      delayed.map(({ tier }) => tier),
    )
  }

  async #publish(
    messages: readonly EncodedMessage[],
    { deadline = Number.POSITIVE_INFINITY, onOutcome }: PublishUntil,
    places?: ReadonlyArray<number | undefined>,
  ): Promise<readonly PublishOutcome[]> {
    const outcomes = Array.from<unknown, PublishOutcome>(messages, () => undefined)
    const missing = await this.#missingTopics(messages)
    const envelopes: Envelope[] = []
    for (const [index, message] of messages.entries()) {
      const envelope = missing.get(message.destination) ?? this.#wrap(message, index, places?.[index])
      if (envelope instanceof Error) outcomes[index] = envelope
      else envelopes.push(envelope)
    }
    let turn = 0
    const requests = splitRequests(envelopes, this.#settings.maxMessageBytes, ({ key, topic, place }) => {
      const count = this.#topics.partitions(topic) ?? 1
      return place ?? (key === null ? turn++ % count : partitionOf(key, count))
    })
    const onConfirmed = onOutcome && (({ index }: Envelope) => onOutcome(index, undefined))
    for (const request of requests) {
      const sending = { until: deadline, onConfirmed }
      for (const [{ index }, error] of await this.#send(request, sending)) outcomes[index] = error
    }
    return outcomes
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#producer.close()
  }

  #wrap(message: EncodedMessage, index: number, place: number | undefined): Envelope | TransportError {
    const { destination: topic } = message
    try {
      const record = encodeRecord(message, this.#settings.springHeaderTypes)
      const bytes = recordBytes(record)
      const { key, value, headers } = record
      if (bytes <= this.#settings.maxMessageBytes || this.#topics.takesAnySize(topic))
        return { key, value, headers, topic, bytes, index, place }
      const limit = this.#settings.maxMessageBytes
      return transportError(
        'too_large',
        `message ${message.id} has ${bytes} bytes with its headers, ${limit} are allowed`,
        topic,
      )
    } catch (error) {
      return transportError(
        'mismatch',
        `message ${message.id} has no wire form: ${toError(error).message}`,
        topic,
        error,
      )
    }
  }

  /** Looks up unprovisioned topics first: a missing one would delay all others. */
  async #missingTopics(messages: readonly EncodedMessage[]): Promise<ReadonlyMap<string, TransportError>> {
    const missing = new Map<string, TransportError>()
    const unknown = new Set<string>()
    for (const { destination } of messages)
      if (this.#topics.partitions(destination) === undefined) unknown.add(destination)
    for (const topic of unknown) {
      try {
        await this.#topics.verify(topic)
      } catch (error) {
        missing.set(topic, toTransportError(error, `publishing to "${topic}"`, topic))
      }
    }
    return missing
  }

  /** Sends until each message has an answer or time is up. Resolves with the failed ones. */
  async #send(request: readonly Envelope[], sending: RequestTerms): Promise<ReadonlyMap<Envelope, TransportError>> {
    const { until, onConfirmed } = sending
    let left = request
    let last: TransportError | undefined
    while (left.length > 0) {
      const remaining = until - this.#clock.monotonic()
      if (this.#closed) return failed(left, transportError('closed', 'publishing failed'))
      if (remaining <= 0) {
        // A topic may be gone, for which a library waits as for a broker: look before the next publish.
        for (const { topic } of left) this.#topics.forget(topic)
        return failed(left, last ?? transportError('timeout', 'no confirm in time'))
      }
      try {
        left = await this.#producer.send(left, remaining, onConfirmed)
        if (left.length > 0) await this.#pause(until)
      } catch (error) {
        last = error as TransportError
        if (isDenied(last)) return this.#apart(left, last, sending)
        if (!last.retryable) return this.#isolate(left, last, sending)
        await this.#pause(until)
      }
    }
    return failed([], undefined)
  }

  #pause(until: number): Promise<void> {
    return this.#clock.sleep(Math.min(RETRY_PAUSE_MS, Math.max(0, until - this.#clock.monotonic())))
  }

  /** Rights are a topic's: the records of the one that is denied fail together, and those of the others go on their own. */
  async #apart(
    request: readonly Envelope[],
    error: TransportError,
    sending: RequestTerms,
  ): Promise<ReadonlyMap<Envelope, TransportError>> {
    const topics = [...new Set(request.map(({ topic }) => topic))]
    const [topic] = topics
    if (topics.length === 1) return failed(request, toTransportError(error.cause, `publishing to "${topic}"`, topic))
    const ofEach: Array<readonly [Envelope, TransportError]> = []
    for (const each of topics) {
      const own = request.filter((envelope) => envelope.topic === each)
      ofEach.push(...(await this.#send(own, sending)))
    }
    return new Map(ofEach)
  }

  /** The broker permanently refuses a record of this request: halves are sent separately until the culprit is alone. */
  async #isolate(
    request: readonly Envelope[],
    error: TransportError,
    sending: RequestTerms,
  ): Promise<ReadonlyMap<Envelope, TransportError>> {
    if (request.length === 1) {
      const topic = request[0]?.topic as string
      if (error.kind === 'unroutable') this.#topics.forget(topic)
      return failed(request, refusalOf(error, topic))
    }
    const [first, second] = halve(request)
    return new Map([...(await this.#send(first, sending)), ...(await this.#send(second, sending))])
  }
}

/** Error of a single record, with the broker's reason. */
function refusalOf({ kind, cause }: TransportError, topic: string): TransportError {
  const why = cause === undefined ? '' : `: ${textOf(cause)}`
  return transportError(kind, `publishing to "${topic}" failed${why}`, topic, cause, remedyOf(cause))
}

function failed(
  envelopes: readonly Envelope[],
  error: TransportError | undefined,
): ReadonlyMap<Envelope, TransportError> {
  return new Map(error === undefined ? [] : envelopes.map((envelope) => [envelope, error]))
}
