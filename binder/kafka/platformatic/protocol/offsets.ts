/** Offsets: a group's, and a topic's. */
import type { ByteReader } from '../../records/bytes.ts'
import { requireSuccess } from './errors.ts'
import type { MemberGeneration } from './group.ts'
import type { Request } from './request-codec.ts'

/** Asked for in the place of an instant. */
export const EARLIEST = -2
export const LATEST = -1

export const READ_UNCOMMITTED = 0
export const READ_COMMITTED = 1

/** For a group without members: no generation, no member. */
export const NOBODY = { memberId: '', generation: -1 } as const

/** @throws KafkaRefusal when one of them was refused */
export function commitOffsets(
  place: MemberGeneration,
  topic: string,
  positions: ReadonlyMap<number, number>,
): Request<void> {
  return {
    apiKey: 8,
    apiVersion: 7,
    name: 'OffsetCommit',
    write(to) {
      to.string(place.groupId).int32(place.generation).string(place.memberId).string(null)
      to.array([topic], () => {
        to.string(topic).array([...positions], ([partition, position]) => {
          to.int32(partition).int64(position).int32(-1).string('')
        })
      })
    },
    read(from) {
      from.int32()
      readPartitions(from, (partition) => {
        requireSuccess(from.int16(), `the offset of partition ${partition} of "${topic}" was not committed`)
      })
    },
  }
}

/** By partition, without those in which nothing is committed. @throws KafkaRefusal */
export function fetchOffsets(
  groupId: string,
  topic: string,
  partitions: readonly number[],
): Request<ReadonlyMap<number, number>> {
  return {
    apiKey: 9,
    apiVersion: 5,
    name: 'OffsetFetch',
    write(to) {
      to.string(groupId).array([topic], () => {
        to.string(topic).array(partitions, (partition) => to.int32(partition))
      })
    },
    read(from) {
      from.int32()
      const found = new Map<number, number>()
      readPartitions(from, (partition) => {
        const offset = from.int64()
        from.int32()
        from.nullableString()
        requireSuccess(from.int16(), `the offset of group "${groupId}" in partition ${partition} was not read`)
        if (offset >= 0) found.set(partition, offset)
      })
      requireSuccess(from.int16(), `the offsets of group "${groupId}" were not read`)
      return found
    },
  }
}

/**
 * By partition the first record of that time or later, -1 for none; `EARLIEST` and `LATEST` are times, too. The end is that of
 * the isolation level. @throws KafkaRefusal
 */
export function listOffsets(
  topic: string,
  partitions: readonly number[],
  time: number,
  isolation: number,
): Request<ReadonlyMap<number, number>> {
  return {
    apiKey: 2,
    apiVersion: 5,
    name: 'ListOffsets',
    write(to) {
      to.int32(-1).int8(isolation)
      to.array([topic], () => {
        to.string(topic).array(partitions, (partition) => to.int32(partition).int32(-1).int64(time))
      })
    },
    read(from) {
      from.int32()
      const found = new Map<number, number>()
      readPartitions(from, (partition) => {
        requireSuccess(from.int16(), `the offsets of partition ${partition} of "${topic}" were not read`)
        from.int64()
        found.set(partition, from.int64())
        from.int32()
      })
      return found
    },
  }
}

/** Reads the fields after a topic's name and a partition's number, for each. */
function readPartitions(from: ByteReader, read: (partition: number) => void): void {
  from.array(() => {
    from.string()
    from.array(() => read(from.int32()))
  })
}
