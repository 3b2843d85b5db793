import type { Clock } from '../../../core/clock.ts'
import type { Admin, NewTopic, PartitionRange, TopicPartitions } from '../driver.ts'
import { hasType } from '../errors.ts'
import { ConnectionLost } from './errors.ts'
import { type Cluster, isPassing, RETRY } from './network/cluster.ts'
import { metadata } from './protocol/cluster.ts'
import { KafkaRefusal } from './protocol/errors.ts'
import { deleteGroup } from './protocol/group.ts'
import {
  commitOffsets,
  EARLIEST,
  fetchOffsets,
  LATEST,
  listOffsets,
  NOBODY,
  READ_UNCOMMITTED,
} from './protocol/offsets.ts'
import { createTopics, describeConfigs } from './protocol/topics.ts'

const ATTEMPTS = 5

/** Adapts administrative calls to the driver's contract. */
export class AdminCalls implements Admin {
  readonly #cluster: Cluster
  readonly #clock: Clock

  constructor(cluster: Cluster, clock: Clock) {
    this.#cluster = cluster
    this.#clock = clock
  }

  async listTopics(): Promise<readonly string[]> {
    const { topics } = await this.#retried(() => this.#cluster.any(metadata(null)))
    return topics.filter(({ isInternal }) => !isInternal).map(({ name }) => name)
  }

  async createTopics(topics: readonly NewTopic[], timeoutMs: number): Promise<void> {
    const refusals = await this.#retried(async () => {
      const { controllerId } = await this.#cluster.metadata([])
      const refused = await this.#cluster.call(controllerId, createTopics(topics, timeoutMs), 'main')
      const passing = refused.find(({ type }) => isPassing(type))
      if (passing !== undefined) throw passing
      return refused
    })
    const lasting = refusals.filter(({ type }) => type !== 'TOPIC_ALREADY_EXISTS')
    if (lasting.length > 0) throw new AggregateError(refusals, 'topics were not created')
  }

  async partitionsOf(names: readonly string[]): Promise<ReadonlyMap<string, TopicPartitions>> {
    const { topics } = await this.#retried(() => this.#cluster.metadata(names))
    const known = topics.filter(({ errorCode, partitions }) => errorCode === 0 && partitions.length > 0)
    return new Map(
      known.map(({ name, partitions }) => [
        name,
        { count: partitions.length, isLed: partitions.every(({ leader }) => leader >= 0) },
      ]),
    )
  }

  async configs(topics: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    return this.#retried(() => this.#cluster.any(describeConfigs(topics)))
  }

  /** Returns the end of all records, not the last one before an open transaction, where a group seems to have nothing left. */
  async ranges(topic: string): Promise<readonly PartitionRange[]> {
    const lows = await this.#offsets(topic, EARLIEST)
    const highs = await this.#offsets(topic, LATEST)
    return Array.from(lows, ([partition, low]) => ({ partition, low, high: highs.get(partition) ?? low }))
  }

  async offsetsAt(topic: string, time: number): Promise<ReadonlyMap<number, number>> {
    const found = await this.#offsets(topic, time)
    const ends = await this.#offsets(topic, LATEST)
    return new Map(
      Array.from(found, ([partition, offset]) => [partition, offset < 0 ? (ends.get(partition) ?? 0) : offset]),
    )
  }

  async committed(groupId: string, topic: string): Promise<ReadonlyMap<number, number>> {
    return this.#atCoordinator(groupId, async () => {
      const { partitions } = await this.#cluster.freshTopic(topic)
      const request = fetchOffsets(
        groupId,
        topic,
        partitions.map(({ partition }) => partition),
      )
      return this.#cluster.callCoordinator(groupId, request, 'main')
    })
  }

  async place(groupId: string, topic: string, positions: ReadonlyMap<number, number>): Promise<boolean> {
    try {
      const request = commitOffsets({ groupId, ...NOBODY }, topic, positions)
      await this.#atCoordinator(groupId, () => this.#cluster.callCoordinator(groupId, request, 'main'))
      return true
    } catch (error) {
      // The group has members, and only they can commit.
      if (hasType(error, 'UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'REBALANCE_IN_PROGRESS')) return false
      throw error
    }
  }

  async deleteGroup(groupId: string): Promise<void> {
    const deleted = (): Promise<void> => this.#cluster.callCoordinator(groupId, deleteGroup(groupId), 'main')
    await this.#atCoordinator(groupId, deleted)
    this.#cluster.forgetCoordinator(groupId)
  }

  async #offsets(topic: string, time: number): Promise<ReadonlyMap<number, number>> {
    return this.#retried(async () => {
      const { partitions } = await this.#cluster.freshTopic(topic)
      const byLeader = Map.groupBy(partitions, ({ leader }) => leader)
      const found = await Promise.all(
        Array.from(byLeader, ([leader, each]) => {
          const request = listOffsets(
            topic,
            each.map(({ partition }) => partition),
            time,
            READ_UNCOMMITTED,
          )
          return this.#cluster.call(leader, request, 'main')
        }),
      )
      return new Map(found.flatMap((each) => [...each]).sort(([a], [b]) => a - b))
    })
  }

  async #atCoordinator<T>(groupId: string, work: () => Promise<T>): Promise<T> {
    return this.#retried(async () => {
      try {
        return await work()
      } catch (error) {
        this.#cluster.forgetCoordinator(groupId)
        throw error
      }
    })
  }

  /** Retries, because an idle connection may have ended, and a leader may have moved. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        const passes = error instanceof ConnectionLost || (error instanceof KafkaRefusal && isPassing(error.type))
        if (!passes || attempt >= ATTEMPTS) throw error
        await this.#clock.sleep(Math.min(RETRY.longestMs, RETRY.firstMs * 2 ** (attempt - 1)))
      }
    }
  }
}
