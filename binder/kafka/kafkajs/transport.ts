import { isRetryable, toError } from '../../../core/errors.ts'
import type { EncodedMessage } from '../../channel/message.ts'
import type {
  DestinationSpec,
  GroupPlace,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from '../../transport/transport.ts'
import { Delays } from '../delays/delays.ts'
import { kafkaGroupOf } from '../group/group-ids.ts'
import type { KafkaOptions } from '../options.ts'
import { type KafkaTransportOptions, resolveKafkaOptions } from '../options.ts'
import { Topics, topicConfigOf } from '../topics.ts'
import { delaySpec } from '../wire/delay.ts'
import { AdminConnection } from './admin.ts'
import { provideCodecs } from './codecs.ts'
import { TRANSPORT, transportError } from './errors.ts'
import { lagOf } from './lag.ts'
import { mendTornAnswers } from './mends/torn-answers.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'

const FEATURES: TransportFeatures = Object.freeze({
  newGroupStartsAtEarliest: true,
  redeliveredFlag: { missing: 'Kafka keeps a position per partition and nothing about single messages' },
  durable: true,
  refusesUnroutable: { missing: 'a topic keeps a message whether or not a group will ever read it' },
  tellsWholeLag: true,
  delaysByItself: { missing: 'a process that uses the channel forwards what is due' },
})

/**
 * Kafka as a transport, over a kafkajs 2.2 client of yours.
 *
 * A destination is a topic; a durable group is the Kafka group `<group>.<destination>` or the one of `groupIds`, from the earliest offset; no
 * group is a throw-away Kafka group from the end, which commits nothing. Records are CloudEvents in binary mode. A key's
 * partition is that of the Java client.
 *
 * Node 24 prints `TimeoutNegativeWarning` for each connection that kafkajs makes (a negative timer of its own, which
 * does no harm): run with `--disable-warning=TimeoutNegativeWarning`.
 */
export function kafkaTransport(options: KafkaTransportOptions): Transport {
  return new KafkaTransport(resolveKafkaOptions(options))
}

interface Parts {
  readonly admin: AdminConnection
  readonly topics: Topics
  readonly publisher: Publisher
  readonly subscriber: Subscriber
  readonly delays: Delays
}

class KafkaTransport implements Transport {
  readonly name = TRANSPORT
  readonly features = FEATURES
  /** kafkajs keeps the order of what one call carries; calls that overlap can pass one another in its retries. */
  readonly publishConcurrency = 1
  readonly #options: KafkaOptions
  #parts: Parts | undefined
  #health: TransportHealth = { status: 'idle' }
  #closed: Promise<void> | undefined

  constructor(options: KafkaOptions) {
    this.#options = options
  }

  attach(host: TransportHost): void {
    const options = this.#options
    mendTornAnswers()
    provideCodecs()
    const admin = new AdminConnection(options, host.clock)
    const topics = new Topics(options, admin, host.clock, host.logger)
    const subscriber = new Subscriber(options, host, admin, topics, (error) => this.#onAnswer(error))
    this.#parts = {
      admin,
      topics,
      publisher: new Publisher(options, topics, host.clock, host.publishTimeoutMs),
      subscriber,
      delays: new Delays({ options, admin, topics, subscriber }, host),
    }
  }

  provision(destinations: readonly DestinationSpec[]): Promise<void> {
    return this.#watch('provision', async ({ topics, delays }) => {
      await topics.provision(destinations.flatMap((spec) => (spec.delays === true ? [spec, delaySpec(spec)] : [spec])))
      delays.use(destinations)
    })
  }

  describe(destination: DestinationSpec): readonly TopologyPart[] {
    return destination.delays === true
      ? [...this.#partsOf(destination), ...this.#partsOf(delaySpec(destination))]
      : this.#partsOf(destination)
  }

  #partsOf(spec: DestinationSpec): readonly TopologyPart[] {
    const { name, partitions, groups } = spec
    const { replicationFactor } = this.#options
    const config = topicConfigOf(spec, this.#options)
    return [
      {
        kind: 'topic',
        name,
        details: { partitions, ...(replicationFactor === -1 ? {} : { replicationFactor }), ...config },
      },
      ...groups.map((group) => ({
        kind: 'consumer-group',
        name: kafkaGroupOf(this.#options, group, name),
        details: { topic: name },
      })),
    ]
  }

  async publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    if (this.#closed !== undefined || this.#parts === undefined)
      return messages.map(({ destination }) => transportError('closed', 'publishing failed', destination))
    const outcomes = await this.#parts.publisher.publish(messages)
    const away = outcomes.find((outcome) => outcome?.kind === 'unavailable' || outcome?.kind === 'timeout')
    if (messages.length > 0) this.#onAnswer(away)
    return outcomes
  }

  subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    return this.#watch('subscribe', ({ subscriber }) => subscriber.subscribe(spec, receiver))
  }

  lag({ destination, group }: GroupPlace): Promise<number> {
    const groupId = kafkaGroupOf(this.#options, group, destination)
    return this.#watch('lag', ({ admin }) =>
      admin.use(`looking up the lag of "${groupId}"`, (each) => lagOf(each, destination, groupId), destination),
    )
  }

  health(): TransportHealth {
    return this.#health
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const parts = this.#parts
    if (parts === undefined) return
    await parts.delays.close()
    await Promise.all([parts.subscriber.close(), parts.publisher.close()])
    await parts.admin.close()
    this.#health = { status: 'down', detail: 'closed' }
  }

  async #watch<T>(attempted: string, work: (parts: Parts) => Promise<T>): Promise<T> {
    if (this.#parts === undefined || this.#closed !== undefined) throw transportError('closed', `${attempted} failed`)
    try {
      const result = await work(this.#parts)
      this.#onAnswer()
      return result
    } catch (error) {
      this.#onAnswer(error)
      throw error
    }
  }

  /** A refusal for good is an answer too. */
  #onAnswer(error?: unknown): void {
    if (error === undefined || !isRetryable(error)) this.#health = { status: 'up' }
    else this.#health = { status: 'down', detail: toError(error).message }
  }
}
