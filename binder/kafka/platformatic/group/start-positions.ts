import type { Clock } from '../../../../core/clock.ts'
import { hasType, isExpelled } from '../../errors.ts'
import type { AssignmentCarryOver } from '../../group/assignment-carry-over.ts'
import { isPassing, RETRY } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import type { GroupSession } from './group-session.ts'
import type { RecreatedTopicCheck } from './recreated-topic-check.ts'

export interface StartFields {
  /** Set for a group that commits nothing and goes on from its own memory. */
  readonly remembered: AssignmentCarryOver | undefined
  readonly sameTopic: RecreatedTopicCheck
  readonly session: GroupSession
  readonly clock: Clock
  /** False when the share is gone. */
  isWanted(): boolean
  onAnswer(error: unknown): void
}

/** Finds the offsets at which a member begins to read its partitions, but for those that begin at their first record. */
export class StartPositions {
  readonly #fields: StartFields

  constructor(fields: StartFields) {
    this.#fields = fields
  }

  /**
   * Waits for the coordinator, for as long as the place is kept; resolves with nothing when it is not.
   * @throws what will not pass
   */
  async of(partitions: readonly number[]): Promise<ReadonlyMap<number, number> | undefined> {
    const { clock } = this.#fields
    for (
      let pauseMs: number = RETRY.firstMs;
      this.#fields.isWanted();
      pauseMs = Math.min(2 * pauseMs, RETRY.longestMs)
    ) {
      try {
        return await this.#look(partitions)
      } catch (error) {
        // Closing the connections ends the request of a member that stops: the brokers are well.
        if (!this.#fields.isWanted()) return undefined
        if (isExpelled(error) || hasType(error, 'REBALANCE_IN_PROGRESS')) return undefined
        if (error instanceof KafkaRefusal && !isPassing(error.type)) throw error
        this.#fields.onAnswer(error)
        await clock.sleep(pauseMs)
      }
    }
    return undefined
  }

  /** Committed offsets of the group. The leader of a partition without one tells its first: others need not wait for it. */
  async #look(partitions: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const { remembered, sameTopic, session } = this.#fields
    if (remembered !== undefined)
      return new Map(partitions.map((partition) => [partition, remembered.positionOf(partition)]))
    if (partitions.length === 0) return new Map()
    const committed = await session.committed(partitions)
    sameTopic.begin(committed.keys())
    return committed
  }
}
