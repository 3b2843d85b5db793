import type { Clock } from '../../core/clock.ts'
import { toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { partitionOf } from '../channel/partition.ts'
import { notTakenInTime, type TransportError } from '../errors.ts'
import type { PublishOutcome, PublishUntil } from '../transport/transport.ts'
import { within } from './deadline.ts'
import type { Envelope, Producer } from './driver.ts'
import { isDenied, remedyOf, TRANSPORT, textOf, toTransportError, transportError } from './errors.ts'
import type { KafkaSettings } from './settings.ts'
import type { Topics } from './topics.ts'
import { toDelayed } from './wire/delay-topic.ts'
import { encodeRecord, recordBytes } from './wire/record.ts'
import { byTopic, halve, splitRequests } from './wire/split-produce-requests.ts'

const RETRY_PAUSE_MS = 100

type PublisherSettings = Pick<KafkaSettings, 'maxMessageBytes' | 'springHeaderTypes'>

export interface PublisherParts {
  readonly settings: PublisherSettings
  readonly topics: Topics
  /** The publisher closes it. */
  readonly producer: Producer
  readonly clock: Clock
}

interface SendTerms {
  /** On the monotonic clock. */
  readonly until: number
  /** Called once for each message, as soon as its outcome is known. */
  readonly settle: (envelope: Envelope, outcome: PublishOutcome) => void
}

/**
 * Publishes lists of messages: acks from all in-sync replicas, one outcome per message, never rejects. A topic that does not
 * answer does not delay other topics.
 */
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

  /** Returns why a message can never be published, before it is. */
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
    const settle = ({ index }: Pick<Envelope, 'index'>, outcome: PublishOutcome): void => {
      outcomes[index] = outcome
      onOutcome?.(index, outcome)
    }
    const envelopes: Envelope[] = []
    for (const [index, message] of messages.entries()) {
      const envelope = this.#wrap(message, index, places?.[index])
      if (envelope instanceof Error) settle({ index }, envelope)
      else envelopes.push(envelope)
    }
    await this.#sendTopics(envelopes, { until: deadline, settle })
    return outcomes
  }

  /** Sends topics concurrently, and in one request where possible. */
  async #sendTopics(envelopes: readonly Envelope[], terms: SendTerms): Promise<void> {
    const together: Envelope[][] = []
    const parts: Array<Promise<void>> = []
    for (const { topic, messages } of byTopic(envelopes)) {
      if (this.#topics.partitions(topic) === undefined) parts.push(this.#verifyAndSend(topic, messages, terms))
      else {
        const requests = this.#requestsOf(topic, messages)
        if (this.#producer.joinsTopics && requests.length === 1) together.push(messages)
        else parts.push(this.#sendInTurn(requests, terms))
      }
    }
    if (together.length > 0) parts.push(this.#send(together.flat(), terms))
    await Promise.all(parts)
  }

  #requestsOf(topic: string, envelopes: readonly Envelope[]): readonly Envelope[][] {
    const count = this.#topics.partitions(topic) ?? 1
    let turn = 0
    return splitRequests(
      envelopes,
      this.#settings.maxMessageBytes,
      ({ key, place }) => place ?? (key === null ? turn++ % count : partitionOf(key, count)),
    )
  }

  /**
   * Looks up a topic that was not provisioned or did not answer before, because a library waits for a missing topic as for a
   * broker.
   */
  async #verifyAndSend(topic: string, envelopes: readonly Envelope[], terms: SendTerms): Promise<void> {
    const remaining = terms.until - this.#clock.monotonic()
    try {
      await within(this.#clock, remaining, `looking up topic "${topic}"`, this.#topics.verify(topic))
    } catch (error) {
      const failure = toTransportError(error, `publishing to "${topic}"`, topic)
      return settleAll(envelopes, terms, failure.kind === 'timeout' ? notSent(topic, failure) : failure)
    }
    return this.#sendInTurn(this.#requestsOf(topic, envelopes), terms)
  }

  /** Sends in the order of each partition. */
  async #sendInTurn(requests: readonly Envelope[][], terms: SendTerms): Promise<void> {
    for (const request of requests) await this.#send(request, terms)
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

  /**
   * Sends until each message has an answer or the time limit passes.
   * @param isRepeat true: the messages were passed to the producer before
   */
  async #send(request: readonly Envelope[], terms: SendTerms, isRepeat = false): Promise<void> {
    const { until, settle } = terms
    let left = request
    let wasTried = isRepeat
    let last: TransportError | undefined
    while (left.length > 0) {
      const remaining = until - this.#clock.monotonic()
      if (this.#closed) return settleAll(left, terms, transportError('closed', 'publishing failed'))
      if (remaining <= 0) {
        if (!wasTried) return settleUnsent(left, terms)
        // The topic may have been deleted, for which a library waits as for a broker, so it is looked up before the next publish.
        for (const { topic } of left) this.#topics.forget(topic)
        return settleAll(left, terms, last ?? transportError('timeout', 'no confirm in time'))
      }
      wasTried = true
      try {
        left = await this.#producer.send(left, remaining, (envelope) => settle(envelope, undefined))
        if (left.length > 0) await this.#pause(until)
      } catch (error) {
        last = error as TransportError
        if (!last.retryable || isDenied(last)) return this.#refused(left, last, terms)
        await this.#pause(until)
      }
    }
  }

  #pause(until: number): Promise<void> {
    return this.#clock.sleep(Math.min(RETRY_PAUSE_MS, Math.max(0, until - this.#clock.monotonic())))
  }

  /**
   * Handles a request of which the broker refuses a part. Each topic is sent separately, then in halves until the refused message
   * is alone. Rights belong to a topic, so all its records fail together.
   */
  async #refused(request: readonly Envelope[], error: TransportError, terms: SendTerms): Promise<void> {
    const [first, ...others] = byTopic(request)
    if (first === undefined) return
    if (others.length > 0) {
      await Promise.all([first, ...others].map(({ messages }) => this.#send(messages, terms, true)))
      return
    }
    const { topic } = first
    const isUnroutable = error.kind === 'unroutable'
    const absence = isUnroutable ? this.#topics.passingAbsence(topic, error.cause) : undefined
    if (absence !== undefined) {
      this.#topics.forget(topic)
      settleAll(request, terms, absence)
    } else if (isDenied(error))
      settleAll(request, terms, toTransportError(error.cause, `publishing to "${topic}"`, topic))
    else if (request.length === 1) {
      if (isUnroutable) this.#topics.forget(topic)
      settleAll(request, terms, refusalOf(error, topic))
    } else for (const half of halve(request)) await this.#send(half, terms, true)
  }
}

/** Error of a single record, with the broker's reason. */
function refusalOf({ kind, cause }: TransportError, topic: string): TransportError {
  const why = cause === undefined ? '' : `: ${textOf(cause)}`
  return transportError(kind, `publishing to "${topic}" failed${why}`, topic, cause, remedyOf(cause))
}

/** Returns the error of messages that were not passed to the producer. */
function notSent(topic: string, cause?: Error): TransportError {
  return notTakenInTime(TRANSPORT, { destination: topic }, cause)
}

function settleUnsent(envelopes: readonly Envelope[], { settle }: SendTerms): void {
  for (const envelope of envelopes) settle(envelope, notSent(envelope.topic))
}

function settleAll(envelopes: readonly Envelope[], { settle }: SendTerms, error: TransportError): void {
  for (const envelope of envelopes) settle(envelope, error)
}
