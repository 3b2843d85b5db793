import type { AssignedPartition } from '../../group/assigned-partition.ts'
import { type Cluster, isPassing } from '../network/cluster.ts'
import { KafkaRefusal } from '../protocol/errors.ts'
import { EARLIEST, listOffsets, READ_UNCOMMITTED } from '../protocol/offsets.ts'

export interface ReadPosition {
  readonly assigned: AssignedPartition
  /** `undefined` until its leader has told the first offset, where the group has committed none. */
  next: number | undefined
  leader: number
}

/** Asks leaders for the first offsets of partitions. */
export class FirstOffsets {
  readonly #cluster: Cluster
  readonly #topic: string

  constructor(cluster: Cluster, topic: string) {
    this.#cluster = cluster
    this.#topic = topic
  }

  /**
   * Fills in the positions of partitions in which the group has committed nothing. Resolves true when the leader did not tell some of
   * them: the leaders have to be looked up again, and the other partitions are read meanwhile.
   */
  async fillIn(leader: number, places: readonly ReadPosition[]): Promise<boolean> {
    const unknown = places.filter(({ next }) => next === undefined)
    const found = await Promise.all(
      unknown.map(async (place) => {
        try {
          const first = await this.of(leader, place.assigned.partition)
          // Another leader may have told it, and reading may have gone on.
          place.next ??= first
          return true
        } catch (error) {
          if (!(error instanceof KafkaRefusal) || !isPassing(error.type)) throw error
          return false
        }
      }),
    )
    return found.includes(false)
  }

  async of(leader: number, partition: number): Promise<number> {
    const request = listOffsets(this.#topic, [partition], EARLIEST, READ_UNCOMMITTED)
    return (await this.#cluster.call(leader, request, 'fetch')).get(partition) ?? 0
  }
}
