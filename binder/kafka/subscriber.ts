import { randomUUID } from 'node:crypto'
import type { Receiver, Subscription, SubscriptionSpec, TransportHost } from '../transport.ts'
import type { AdminConnection } from './admin.ts'
import { gatedAssigner } from './assigner.ts'
import type { KafkaConsumer } from './client.ts'
import { settle } from './deadline.ts'
import type { KafkaOptions } from './options.ts'
import { type ConsumerHost, type ConsumerSpec, KafkaSubscription } from './subscription.ts'
import type { Topics } from './topics.ts'

const DELETE_MS = 2_000
const MIN_FETCH_BYTES = 64 * 1024
const MAX_PARTITION_BYTES = 1024 * 1024
const MAX_FETCH_BYTES = 10 * 1024 * 1024

/**
 * The Kafka group of a subscription. Kafka groups are global and one member's topics are the group's, so the topic is
 * part of the name: `audit` on two channels is two groups. To read on with another program use this group id.
 */
export function groupIdOf(group: string, topic: string): string {
  return `${group}.${topic}`
}

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
    const consumerSpec: ConsumerSpec = {
      topic: spec.destination,
      groupId: this.#groupId(spec),
      partitions,
      prefetch: spec.prefetch,
      prefetchBytes: spec.prefetchBytes,
      startAt: spec.group === null ? await this.#endOf(spec.destination) : undefined,
    }
    const subscription: KafkaSubscription = new KafkaSubscription(
      consumerSpec,
      this.#consumerHost(async () => {
        this.#open.delete(subscription)
        if (spec.group === null) await this.#deleteGroup(consumerSpec.groupId)
      }),
      receiver,
    )
    this.#open.add(subscription)
    await subscription.open()
    return subscription
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((subscription) => subscription.close()))
  }

  #groupId({ group, destination }: SubscriptionSpec): string {
    return groupIdOf(group ?? `anonymous.${this.#host.service}.${randomUUID()}`, destination)
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
      createConsumer: (spec, beforeJoin) => createConsumer(this.#options, spec, gatedAssigner(clock, beforeJoin)),
      onAnswer: this.#onAnswer,
      onEnd,
    }
  }
}

function createConsumer(
  options: KafkaOptions,
  spec: ConsumerSpec,
  assigner: ReturnType<typeof gatedAssigner>,
): KafkaConsumer {
  const perPartition = Math.floor(spec.prefetchBytes / Math.max(1, spec.partitions))
  return options.kafka.consumer({
    groupId: spec.groupId,
    allowAutoTopicCreation: false,
    partitionAssigners: [assigner],
    sessionTimeout: options.sessionTimeoutMs,
    rebalanceTimeout: options.rebalanceTimeoutMs,
    heartbeatInterval: options.heartbeatIntervalMs,
    maxWaitTimeInMs: options.maxWaitMs,
    maxBytes: Math.min(MAX_FETCH_BYTES, Math.max(MIN_FETCH_BYTES, spec.prefetchBytes)),
    maxBytesPerPartition: Math.min(MAX_PARTITION_BYTES, Math.max(MIN_FETCH_BYTES, perPartition)),
    retry: {
      retries: 10,
      initialRetryTime: 100,
      maxRetryTime: 1_000,
      restartOnFailure: () => Promise.resolve(false),
    },
  })
}
