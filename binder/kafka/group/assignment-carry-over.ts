import type { FetchedBatch } from '../driver.ts'
import type { PartitionLending } from './partition-lending.ts'

/** Data of an assignment that the next one needs. */
export class AssignmentCarryOver {
  /** The lowest unfinished offset of partitions that were given up, before that where to begin. */
  readonly #positions: Map<number, number>
  /** Where fetching stood, further than what was finished. */
  readonly #fetched: Map<number, number> = new Map()

  constructor(startAt: ReadonlyMap<number, number> | undefined) {
    this.#positions = new Map(startAt)
  }

  remember(lending: PartitionLending): void {
    for (const { partition, fetchPosition, tracker } of lending.partitions.values()) {
      if (tracker.position === undefined) continue
      this.#positions.set(partition, tracker.position)
      if (fetchPosition !== undefined && fetchPosition !== tracker.position) this.#fetched.set(partition, fetchPosition)
    }
  }

  /** Where a group that commits nothing goes on. A partition that was added later is read from its beginning. */
  positionOf(partition: number): number {
    return this.#positions.get(partition) ?? 0
  }

  /**
   * True for a batch that was fetched before the group was joined anew and handed over after: with several brokers one
   * fetch can be under way while the consumer joins. It begins where fetching stood then, and taking it would skip what
   * has come back. At most one per partition; a batch that begins there by chance is merely fetched twice.
   */
  isLate(batch: Pick<FetchedBatch, 'partition' | 'fetchedOffset'>): boolean {
    const suspect = this.#fetched.get(batch.partition)
    this.#fetched.delete(batch.partition)
    return suspect !== undefined && suspect === Number(batch.fetchedOffset)
  }
}
