import { type Clock, SECOND } from '../../core/clock.ts'
import type { Logger } from '../../core/logger.ts'
import type { DestinationSpec } from '../transport.ts'
import type { AdminConnection } from './admin.ts'
import type { KafkaAdmin } from './client.ts'
import { hasType, transportError } from './errors.ts'
import type { KafkaOptions } from './options.ts'

const LEADER_POLL_MS = 50
const CREATE_TIMEOUT_MS = 10 * SECOND

/** Makes topics exist, and knows which do. */
export class Topics {
  readonly #options: KafkaOptions
  readonly #admin: AdminConnection
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #partitions = new Map<string, number>()

  constructor(options: KafkaOptions, admin: AdminConnection, clock: Clock, logger: Logger) {
    this.#options = options
    this.#admin = admin
    this.#clock = clock
    this.#logger = logger
  }

  /** How many partitions the topic had when last looked at; `undefined` when it was never seen. */
  partitions(topic: string): number | undefined {
    return this.#partitions.get(topic)
  }

  /**
   * Creates the topics that are missing and resolves when each has its leaders. An existing topic is taken as it is:
   * producers and groups follow its real count of partitions, so another count than the channel's only gets a warning.
   * @throws TransportError
   */
  async provision(destinations: readonly DestinationSpec[]): Promise<void> {
    const wanted = new Map(destinations.map((spec) => [spec.name, spec]))
    if (wanted.size === 0) return
    await this.#admin.use('creating topics', async (admin) => {
      const existing = new Set(await admin.listTopics())
      const missing = [...wanted.values()].filter(({ name }) => !existing.has(name))
      if (missing.length > 0) await this.#create(admin, missing)
      await this.#awaitLeaders(admin, [...wanted.keys()])
    })
    for (const { name, partitions } of wanted.values()) this.#warnOfOtherCount(name, partitions)
  }

  /**
   * Looks a topic up that this process did not provision.
   * @throws TransportError `unroutable` when there is none
   */
  async verify(topic: string): Promise<number> {
    const known = this.#partitions.get(topic)
    if (known !== undefined) return known
    const topics = await this.#admin.use('listing topics', (admin) => admin.listTopics(), topic)
    if (!topics.includes(topic)) throw transportError('unroutable', `topic "${topic}" does not exist`, topic)
    await this.#admin.use(`looking up topic "${topic}"`, (admin) => this.#awaitLeaders(admin, [topic]), topic)
    return this.#partitions.get(topic) ?? 1
  }

  /** Looks again next time: the broker said something about the topic that does not fit. */
  forget(topic: string): void {
    this.#partitions.delete(topic)
  }

  async #create(admin: KafkaAdmin, missing: readonly DestinationSpec[]): Promise<void> {
    const topics = missing.map((spec) => ({
      topic: spec.name,
      numPartitions: spec.partitions,
      replicationFactor: this.#options.replicationFactor,
      configEntries: this.#configOf(spec),
    }))
    try {
      // Resolves false when another process was faster for all that failed.
      await admin.createTopics({ topics, waitForLeaders: false, timeout: CREATE_TIMEOUT_MS })
      this.#logger.info({ topics: missing.map(({ name }) => name) }, 'created Kafka topics')
    } catch (error) {
      if (!hasType(error, 'TOPIC_ALREADY_EXISTS') || missing.length === 1) throw error
      for (const each of missing) await this.#create(admin, [each])
    }
  }

  /** What the channel says goes before what the transport says. Kafka deletes whole segments only, so they must end, too. */
  #configOf({ retentionMs }: DestinationSpec): { name: string; value: string }[] {
    const { topicConfig } = this.#options
    const own = { 'retention.ms': String(retentionMs), 'segment.ms': String(retentionMs) }
    const config = retentionMs === undefined ? topicConfig : { ...topicConfig, ...own }
    return Object.entries(config).map(([name, value]) => ({ name, value }))
  }

  /** The caller's deadline ends it. */
  async #awaitLeaders(admin: KafkaAdmin, names: string[]): Promise<void> {
    const deadline = this.#clock.monotonic() + this.#options.requestTimeoutMs
    for (;;) {
      const found = await describe(admin, names)
      if (found !== undefined) {
        for (const [name, partitions] of found) this.#partitions.set(name, partitions)
        return
      }
      if (this.#clock.monotonic() >= deadline)
        throw transportError('unavailable', `topics ${names.join(', ')} have no leader`)
      await this.#clock.sleep(LEADER_POLL_MS)
    }
  }

  #warnOfOtherCount(topic: string, wanted: number): void {
    const partitions = this.#partitions.get(topic)
    if (partitions === undefined || partitions === wanted) return
    this.#logger.warn(
      { topic, partitions, wanted },
      'an existing Kafka topic has another count of partitions than its channel: its own count is used',
    )
  }
}

/** Partition counts, or `undefined` while some topic is unknown or has a partition without a leader. */
async function describe(admin: KafkaAdmin, names: string[]): Promise<ReadonlyMap<string, number> | undefined> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: names })
    const counts = new Map<string, number>()
    for (const topic of topics) {
      if (topic.partitions.length > 0 && topic.partitions.every(({ leader }) => leader >= 0))
        counts.set(topic.name, topic.partitions.length)
    }
    return names.every((name) => counts.has(name)) ? counts : undefined
  } catch (error) {
    if (hasType(error, 'UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE')) return undefined
    throw error
  }
}
