import { randomUUID } from 'node:crypto'
import type { Receiver, Subscription, SubscriptionSpec, TransportHost } from '../../transport/transport.ts'
import { groupIdOf, kafkaGroupOf, startOf } from '../group/group-ids.ts'
import type { KafkaOptions } from '../options.ts'
import type { Topics } from '../topics.ts'
import { FORWARDERS } from '../wire/delay.ts'
import type { AdminConnection } from './admin.ts'
import { gatedAssigner } from './assigner.ts'
import { type ConsumerSpec, createConsumer } from './consumer.ts'
import { settle } from './deadline.ts'
import { placeGroup } from './place-group.ts'
import { type ConsumerHost, KafkaSubscription } from './subscription.ts'

const DELETE_MS = 2_000
/** The first fetch of a consumer is answered at once, with what there is. */
const FIRST_FETCH_MS = 1_000
/** What a forwarder holds of each tier: as much as it publishes in one go. */
const TIER_WINDOW = 500
const TIER_WINDOW_BYTES = 2 * 1024 * 1024

/** Opens subscriptions, and ends those that are left at the close of the transport. */
export class Subscriber {
  readonly #options: KafkaOptions
  readonly #host: TransportHost
  readonly #admin: AdminConnection
  readonly #topics: Topics
  readonly #onAnswer: (error?: unknown) => void
  readonly #open = new Set<KafkaSubscription>()

  constructor(
    options: KafkaOptions,
    host: TransportHost,
    admin: AdminConnection,
    topics: Topics,
    onAnswer: (error?: unknown) => void,
  ) {
    this.#options = options
    this.#host = host
    this.#admin = admin
    this.#topics = topics
    this.#onAnswer = onAnswer
  }

  /** @throws TransportError */
  async subscribe(spec: SubscriptionSpec, receiver: Receiver): Promise<Subscription> {
    const partitions = await this.#topics.verify(spec.destination)
    await this.#placeGroup(spec)
    const consumerSpec: ConsumerSpec = {
      topic: spec.destination,
      groupId: this.#groupId(spec),
      partitions,
      prefetch: spec.prefetch,
      prefetchBytes: spec.prefetchBytes,
      startAt: spec.group === null ? await this.#endOf(spec.destination) : undefined,
    }
    return this.#openSubscription(consumerSpec, receiver, async () => {
      if (spec.group === null) await this.#deleteGroup(consumerSpec.groupId)
    })
  }

  async #openSubscription(
    spec: ConsumerSpec,
    receiver: Receiver,
    afterEnd: () => Promise<void>,
  ): Promise<KafkaSubscription> {
    const onEnd = async (): Promise<void> => {
      this.#open.delete(subscription)
      await afterEnd()
    }
    const subscription: KafkaSubscription = new KafkaSubscription(spec, this.#consumerHost(onEnd), receiver)
    this.#open.add(subscription)
    await subscription.open()
    return subscription
  }

  /** Joins the forwarders of a delay topic. @throws TransportError */
  async subscribeTiers(topic: string, receiver: Receiver): Promise<Subscription> {
    const partitions = await this.#topics.verify(topic)
    const spec: ConsumerSpec = {
      topic,
      groupId: groupIdOf(FORWARDERS, topic),
      partitions,
      prefetch: TIER_WINDOW * partitions,
      prefetchBytes: TIER_WINDOW_BYTES * partitions,
      startAt: undefined,
      evenShares: true,
    }
    return this.#openSubscription(spec, receiver, async () => {})
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((subscription) => subscription.ended()))
  }

  #groupId({ group, destination }: SubscriptionSpec): string {
    if (group !== null) return kafkaGroupOf(this.#options, group, destination)
    return groupIdOf(`anonymous.${this.#host.service}.${randomUUID()}`, destination)
  }

  /**
   * A new group's first offsets are committed before its first member joins: a partition in which nothing comes would
   * else begin at the end of that day again, after each restart.
   */
  async #placeGroup({ group, destination: topic }: SubscriptionSpec): Promise<void> {
    const at = group === null ? undefined : startOf(this.#options.startAt, group, topic)
    if (group === null || at === undefined) return
    const groupId = kafkaGroupOf(this.#options, group, topic)
    await this.#admin.use(`placing group "${groupId}"`, (admin) => placeGroup(admin, groupId, topic, at), topic)
  }

  /** "From now on" is fixed before joining: whatever is published after `subscribe` lies behind it. */
  async #endOf(topic: string): Promise<ReadonlyMap<number, number>> {
    const offsets = await this.#admin.use(
      `finding the end of "${topic}"`,
      (admin) => admin.fetchTopicOffsets(topic),
      topic,
    )
    return new Map(offsets.map(({ partition, high }) => [partition, Number(high)]))
  }

  /** Best effort: Kafka itself forgets a group without members and offsets. */
  async #deleteGroup(groupId: string): Promise<void> {
    const deleting = this.#admin.use(`deleting group "${groupId}"`, (admin) => admin.deleteGroups([groupId]))
    await settle(this.#host.clock, DELETE_MS, deleting)
  }

  #consumerHost(onEnd: () => Promise<void>): ConsumerHost {
    const { clock, logger } = this.#host
    return {
      options: this.#options,
      clock,
      logger,
      createConsumer: (spec, beforeJoin, onFetched) =>
        createConsumer(this.#options, spec, gatedAssigner(clock, beforeJoin), onFetched),
      firstFetchMs: FIRST_FETCH_MS,
      onAnswer: this.#onAnswer,
      onEnd,
    }
  }
}
