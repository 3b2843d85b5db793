import { partitionOf } from '../../channel/partition.ts'
import type { OutgoingRecord } from '../driver.ts'

/**
 * Chooses partitions. A key goes to the Java client's partition: murmur2 over the topic's real count. Records without one take
 * turns.
 */
export class RecordPlacement {
  readonly #turns = new Map<string, number>()

  place(topic: string, key: OutgoingRecord['key'], partitions: number): number {
    if (key !== null) return partitionOf(key, partitions)
    const turn = this.#turns.get(topic) ?? Math.floor(Math.random() * partitions)
    this.#turns.set(topic, (turn + 1) % partitions)
    return turn % partitions
  }
}
