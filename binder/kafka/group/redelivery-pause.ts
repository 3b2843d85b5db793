/** Delivers released messages again after a pause, because the binder would release them again at once. */
import type { Clock } from '../../../core/clock.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import type { PartitionLending } from './partition-lending.ts'

const PAUSE_MS = 100

export class RedeliveryPause {
  readonly #clock: Clock
  readonly #current: () => PartitionLending | undefined
  readonly #waiting = new Set<AssignedPartition>()

  /** @param current assignment after the pause; partitions of another member are left alone */
  constructor(clock: Clock, current: () => PartitionLending | undefined) {
    this.#clock = clock
    this.#current = current
  }

  add(assigned: AssignedPartition): void {
    const isFirst = this.#waiting.size === 0
    this.#waiting.add(assigned)
    if (isFirst) this.#clock.setTimer(PAUSE_MS, () => this.#lend())
  }

  #lend(): void {
    const partitions = [...this.#waiting]
    this.#waiting.clear()
    const current = this.#current()
    for (const assigned of partitions)
      if (current?.partitions.get(assigned.partition) === assigned) current.lend(assigned)
  }
}
