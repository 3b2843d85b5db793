import { isRetryable, toError } from '../../core/errors.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { TransportError } from '../errors.ts'
import type {
  DestinationSpec,
  GroupPlace,
  PublishOutcome,
  PublishUntil,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from '../transport/transport.ts'
import { Delays } from './delays/delay-forwarders.ts'
import { DelayedMessageListeners } from './delays/delayed-message-listeners.ts'
import type { AdminLink, KafkaDriver } from './driver.ts'
import { TRANSPORT, transportError } from './errors.ts'
import { kafkaGroupOf } from './group/group-id-and-start-at.ts'
import { lagOf } from './group/lag.ts'
import { placeBehind } from './group/set-start-offset.ts'
import { KafkaPublisher } from './publisher.ts'
import type { KafkaSettings } from './settings.ts'
import { Subscriber } from './subscriber.ts'
import { Topics, topicConfigOf } from './topics.ts'
import { delaySpec } from './wire/delay-topic.ts'

const FEATURES: TransportFeatures = Object.freeze({
  newGroupStartsAtEarliest: true,
  redeliveredFlag: { missing: 'Kafka keeps a position per partition, not per message' },
  durable: true,
  refusesUnroutable: { missing: 'a topic keeps messages without a group' },
  tellsWholeLag: true,
  delaysByItself: { missing: 'a process that uses the channel forwards what is due' },
})

interface Parts {
  readonly admin: AdminLink
  readonly topics: Topics
  readonly publisher: KafkaPublisher
  readonly subscriber: Subscriber
  readonly delays: Delays
  readonly news: DelayedMessageListeners
}

/** Kafka as a transport, with any driver. */
export class KafkaTransport implements Transport {
  readonly name = TRANSPORT
  readonly features = FEATURES
  /** A driver takes one call at a time, because concurrent ones could overtake each other in retries. */
  readonly publishConcurrency = 1
  readonly isolatesDestinations = true
  readonly #settings: KafkaSettings
  readonly #driver: KafkaDriver
  #parts: Parts | undefined
  #health: TransportHealth = { status: 'idle' }
  #closed: Promise<void> | undefined

  constructor(settings: KafkaSettings, driver: KafkaDriver) {
    this.#settings = settings
    this.#driver = driver
  }

  attach(host: TransportHost): void {
    const settings = this.#settings
    const { clock } = host
    const link = this.#driver.attach(host)
    const { admin } = link
    const topics = new Topics(settings, admin, host)
    const openPublisher = () => new KafkaPublisher({ settings, topics, producer: link.openProducer(), clock })
    const subscriber = new Subscriber({ settings, link, topics, host, onAnswer: (error) => this.#onAnswer(error) })
    const publisher = openPublisher()
    const news = new DelayedMessageListeners()
    const delays = new Delays({ settings, admin, topics, subscriber, publisher: openPublisher(), news }, host)
    this.#parts = { admin, topics, publisher, subscriber, delays, news }
  }

  provision(destinations: readonly DestinationSpec[]): Promise<void> {
    return this.#watch('provision', async ({ topics, delays, subscriber }) => {
      for (const spec of destinations) subscriber.claim(spec)
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
    const { replicationFactor } = this.#settings
    const config = topicConfigOf(spec, this.#settings)
    return [
      {
        kind: 'topic',
        name,
        details: { partitions, ...(replicationFactor === -1 ? {} : { replicationFactor }), ...config },
      },
      ...groups.map((group) => ({
        kind: 'consumer-group',
        name: kafkaGroupOf(this.#settings, group, name),
        details: { topic: name },
      })),
    ]
  }

  cannotTake(message: EncodedMessage): TransportError | undefined {
    return this.#parts?.publisher.cannotTake(message)
  }

  async publish(messages: readonly EncodedMessage[], until?: PublishUntil): Promise<readonly PublishOutcome[]> {
    if (this.#closed !== undefined || this.#parts === undefined)
      return messages.map(({ destination }) => transportError('closed', 'publishing failed', destination))
    const outcomes = await this.#parts.publisher.publish(messages, until)
    const away = outcomes.find((outcome) => outcome?.kind === 'unavailable' || outcome?.kind === 'timeout')
    if (messages.length > 0) this.#onAnswer(away)
    return outcomes
  }

  subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    return this.#watch('subscribe', ({ subscriber, news }) =>
      news.subscribed(spec.destination, receiver, (each) => subscriber.subscribe(spec, each)),
    )
  }

  lag({ destination, group }: GroupPlace): Promise<number> {
    const groupId = kafkaGroupOf(this.#settings, group, destination)
    return this.#watch('lag', ({ admin }) =>
      admin.use(`looking up the lag of "${groupId}"`, (each) => lagOf(each, destination, groupId), destination),
    )
  }

  hasPlace({ destination }: GroupPlace): Promise<boolean> {
    return this.#watch('look for a topic', ({ admin }) =>
      admin.use(
        `looking for the topic "${destination}"`,
        async (each) => (await each.listTopics()).includes(destination),
        destination,
      ),
    )
  }

  withoutPosition({ destination, group }: GroupPlace): Promise<string | undefined> {
    const groupId = kafkaGroupOf(this.#settings, group, destination)
    return this.#watch('withoutPosition', ({ admin }) =>
      admin.use(
        `looking up the offsets of "${groupId}"`,
        async (each) => ((await each.committed(groupId, destination)).size === 0 ? groupId : undefined),
        destination,
      ),
    )
  }

  placeBehind({ destination, group }: GroupPlace, position: string | undefined): Promise<boolean> {
    const groupId = kafkaGroupOf(this.#settings, group, destination)
    return this.#watch('placeBehind', ({ admin }) =>
      admin.use(`placing group "${groupId}"`, (each) => placeBehind(each, groupId, destination, position), destination),
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

  /** A permanent refusal is an answer, too. */
  #onAnswer(error?: unknown): void {
    if (error === undefined || !isRetryable(error)) this.#health = { status: 'up' }
    else this.#health = { status: 'down', detail: toError(error).message }
  }
}
