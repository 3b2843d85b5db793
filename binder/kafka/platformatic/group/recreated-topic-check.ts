/**
 * A topic that is deleted and made again has other records at the same offsets: who goes on where he stood skips the first of them.
 * With a topic brokers forget what groups have committed in it, and so it shows. Without a group it does not.
 */
import { hasType } from '../../errors.ts'
import type { CommitCall } from '../../group/commits.ts'
import { KafkaRefusal } from '../protocol/errors.ts'

const UNKNOWN_TOPIC = 'UNKNOWN_TOPIC_OR_PARTITION'

export interface SameTopicCalls {
  /** @throws KafkaRefusal while brokers do not know the topic */
  topic(): Promise<unknown>
  /** By partition, without those in which nothing is committed. */
  committed(partitions: readonly number[]): Promise<ReadonlyMap<number, number>>
  /** Commits under the place in the group of when this is called. */
  committer(): CommitCall
  /** Lent messages and reading positions are of another topic than the existing one. */
  onRemade(): void
}

/** Whether the topic of a group is the one that it was, looked at when a broker did not know it for a while. */
export class RecreatedTopicCheck {
  readonly #calls: SameTopicCalls
  /** Where something is committed. */
  readonly #partitions = new Set<number>()
  #isDoubtful = false
  #looking: Promise<boolean> | undefined

  constructor(calls: SameTopicCalls) {
    this.#calls = calls
  }

  /** @param partitions in which something is committed as a term of the group begins */
  begin(partitions: Iterable<number>): void {
    this.#isDoubtful = false
    this.#partitions.clear()
    for (const partition of partitions) this.#partitions.add(partition)
  }

  /** A broker does not know the topic, or a partition of it: nothing is committed until it was looked at. */
  doubt(): void {
    this.#isDoubtful = true
  }

  /** Asked when it is known again. False: it is another one, and `onRemade` was called. */
  isSame(): Promise<boolean> {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined))
    return this.#looking
  }

  /** @throws KafkaRefusal, also when the positions are of a topic that is gone */
  async commit(positions: ReadonlyMap<number, number>): Promise<void> {
    const commit = this.#calls.committer()
    if (this.#isDoubtful) {
      await this.#calls.topic()
      if (!(await this.isSame())) throw new KafkaRefusal(UNKNOWN_TOPIC, 'the topic was deleted and made again')
    }
    try {
      await commit(positions)
    } catch (error) {
      if (hasType(error, UNKNOWN_TOPIC)) this.doubt()
      throw error
    }
    for (const partition of positions.keys()) this.#partitions.add(partition)
  }

  async #look(): Promise<boolean> {
    const partitions = [...this.#partitions]
    const now = partitions.length === 0 ? undefined : await this.#calls.committed(partitions)
    this.#isDoubtful = false
    if (now === undefined || partitions.every((partition) => now.has(partition))) return true
    this.#partitions.clear()
    this.#calls.onRemade()
    return false
  }
}
