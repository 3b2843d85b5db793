import type { Admin, NewTopic, PartitionRange, TopicPartitions } from '../driver.ts'
import { hasType } from '../errors.ts'
import type { KafkaAdmin, KafkaClient } from './client-types.ts'
import { commitPositions } from './commit-positions.ts'

/** Resource type in the protocol. */
const TOPIC_RESOURCE = 2

/** Adapts an admin client of kafkajs to the driver's contract. */
export class DriverAdmin implements Admin {
  readonly #kafka: KafkaClient
  readonly #admin: KafkaAdmin

  constructor(kafka: KafkaClient, admin: KafkaAdmin) {
    this.#kafka = kafka
    this.#admin = admin
  }

  listTopics(): Promise<readonly string[]> {
    return this.#admin.listTopics()
  }

  async createTopics(topics: readonly NewTopic[], timeoutMs: number): Promise<void> {
    const wanted = topics.map(({ name, partitions, replicationFactor, config }) => ({
      topic: name,
      numPartitions: partitions,
      replicationFactor,
      configEntries: Object.entries(config).map(([key, value]) => ({ name: key, value })),
    }))
    // Resolves with false when another process created all that failed.
    await this.#admin.createTopics({ topics: wanted, waitForLeaders: false, timeout: timeoutMs })
  }

  /** kafkajs rejects as soon as one topic is unknown; the result is then empty. */
  async partitionsOf(names: readonly string[]): Promise<ReadonlyMap<string, TopicPartitions>> {
    const found = new Map<string, TopicPartitions>()
    try {
      const { topics } = await this.#admin.fetchTopicMetadata({ topics: [...names] })
      for (const { name, partitions } of topics) {
        const isLed = partitions.every(({ leader }) => leader >= 0)
        if (partitions.length > 0) found.set(name, { count: partitions.length, isLed })
      }
    } catch (error) {
      if (!hasType(error, 'UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE')) throw error
    }
    return found
  }

  async configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    const asked = topics.map((name) => ({ type: TOPIC_RESOURCE, name }))
    const { resources } = await this.#admin.describeConfigs({ resources: asked, includeSynonyms: false })
    return new Map(
      resources.map(({ resourceName, configEntries }) => [
        resourceName,
        Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue])),
      ]),
    )
  }

  async ranges(topic: string): Promise<readonly PartitionRange[]> {
    const offsets = await this.#admin.fetchTopicOffsets(topic)
    return offsets.map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) }))
  }

  async offsetsAt(topic: string, time: number): Promise<ReadonlyMap<number, number>> {
    const offsets = await this.#admin.fetchTopicOffsetsByTimestamp(topic, time)
    return new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]))
  }

  async committed(groupId: string, topic: string): Promise<ReadonlyMap<number, number>> {
    const [found] = await this.#admin.fetchOffsets({ groupId, topics: [topic] })
    const positions = (found?.partitions ?? []).map(({ partition, offset }): readonly [number, number] => [
      partition,
      Number(offset),
    ])
    return new Map(positions.filter(([, offset]) => offset >= 0))
  }

  place(groupId: string, topic: string, positions: ReadonlyMap<number, number>): Promise<boolean> {
    return commitPositions(this.#kafka, groupId, topic, positions)
  }

  async deleteGroup(groupId: string): Promise<void> {
    await this.#admin.deleteGroups([groupId])
  }
}
