import type { FetchedBatch } from '../driver.ts'
import type { PartitionLending } from './partition-lending.ts'

/** Data of an assignment that the next one needs. */
export class AssignmentCarryOver {
  /** Lowest unfinished offset of partitions that were given up; before that, their start. */
  readonly #positions: Map<number, number>
  /** Last fetch positions, beyond the finished messages. */
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

  /** Returns where a group that commits nothing continues. A partition that was added later is read from its beginning. */
  positionOf(partition: number): number {
    return this.#positions.get(partition) ?? 0
  }

  /**
   * True for a batch that was fetched before rejoining the group and passed on afterwards: with several brokers one fetch can be
   * in flight while the consumer joins. It begins at the old fetch position, and taking it would skip returned messages. At most
   * one per partition; a batch that begins there by coincidence is merely fetched twice.
   */
  isLate(batch: Pick<FetchedBatch, 'partition' | 'fetchedOffset'>): boolean {
    const suspect = this.#fetched.get(batch.partition)
    this.#fetched.delete(batch.partition)
    return suspect !== undefined && suspect === Number(batch.fetchedOffset)
  }
}
