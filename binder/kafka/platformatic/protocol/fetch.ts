import type { AbortedTransaction } from '../../records/aborted.ts'
import type { ChunkedBytes } from '../../records/chunked-bytes.ts'
import { errorName, requireSuccess } from './errors.ts'
import { READ_COMMITTED } from './offsets.ts'
import type { Request } from './request-codec.ts'

export interface FetchSpec {
  readonly topic: string
  readonly maxWaitMs: number
  readonly maxBytes: number
  readonly maxPartitionBytes: number
  /** Where to begin, by partition. */
  readonly from: ReadonlyMap<number, number>
}

/** The broker's answer about a partition, with its records undecoded. */
export interface FetchedPartition {
  readonly partition: number
  /** The protocol's name of what went wrong. */
  readonly error: string | undefined
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly aborted: readonly AbortedTransaction[]
  readonly records: ChunkedBytes
}

/** Skips records of open or aborted transactions: read committed. @throws KafkaRefusal */
export function fetch(spec: FetchSpec): Request<readonly FetchedPartition[]> {
  return {
    apiKey: 1,
    apiVersion: 10,
    name: 'Fetch',
    write(to) {
      // No replica; at least one byte; no session.
      to.int32(-1).int32(spec.maxWaitMs).int32(1).int32(spec.maxBytes).int8(READ_COMMITTED).int32(0).int32(-1)
      to.array([spec.topic], (topic) => {
        to.string(topic).array([...spec.from], ([partition, offset]) => {
          to.int32(partition).int32(-1).int64(offset).int64(-1).int32(spec.maxPartitionBytes)
        })
      })
      to.int32(0)
    },
    read(from) {
      from.int32()
      requireSuccess(from.int16(), 'the fetch was refused')
      from.int32()
      const topics = from.array(() => {
        from.string()
        return from.array(() => {
          const partition = from.int32()
          const error = errorName(from.int16())
          const [highWatermark, lastStableOffset] = [from.int64(), from.int64()]
          from.int64()
          const aborted = from.array(() => ({ producerId: from.int64(), firstOffset: from.int64() }))
          return { partition, error, highWatermark, lastStableOffset, aborted, records: from.piecesField() }
        })
      })
      return topics.flat()
    },
  }
}
