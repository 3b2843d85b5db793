import type { FetchedBatch, IncomingRecord } from '../driver.ts'
import { heldBytes } from '../records/record-memory-size.ts'
import { WaitingBytes } from './fetch-buffer-limits.ts'
import { OffsetTracker, type Slot } from './offset-tracker.ts'
import type { SettledRecords } from './settled-uncommitted-offsets.ts'

/** A message that is lent to the binder, or was lent in this process and given back. */
export interface Parcel extends Slot {
  readonly assigned: AssignedPartition
  /** `undefined` once it is finished: its slot remains until all earlier messages are finished. */
  record: IncomingRecord | undefined
  readonly bytes: number
  returned: boolean
}

/** Remainder of a fetched batch, and the offset after it. */
interface Chunk {
  readonly records: readonly IncomingRecord[]
  readonly end: number
  taken: number
}

/**
 * Maximum number of messages taken from the lowest unfinished one on, and of settled but uncommitted ones: this member remembers
 * their offsets, and Kafka redelivers all of them after a crash. Rarely reached, because other keys may continue for seconds at
 * full speed while one key waits, or while the broker refuses commits.
 */
const MAX_TAKEN = 50_000
/** Number of settled messages after which they are committed at once, without waiting for `commitIntervalMs`. */
const COMMIT_AT = MAX_TAKEN / 2

const UNLIMITED = { prefetchBytes: Number.POSITIVE_INFINITY, partitions: 1 } as const

/**
 * One assigned partition: fetched messages that are not lent yet, lent messages, and the progress of finishing them. Waiting
 * messages stay in the driver's form; a message only needs an object of this package while it is lent.
 */
export class AssignedPartition {
  readonly partition: number
  readonly tracker = new OffsetTracker()
  /** Number of lent and unsettled messages. */
  unsettled = 0
  unsettledBytes = 0
  /** Start of the next fetch; `undefined` before the first batch. */
  fetchPosition: number | undefined

  readonly #chunks: Chunk[] = []
  /** Messages given back, by offset; all are below those that were never lent. */
  readonly #returned: Parcel[] = []
  readonly #waitingBytes: WaitingBytes
  readonly #settled: SettledRecords | undefined
  #hasSkipped = false
  #fresh = 0
  #lastBatch = 0
  #held = 0

  /**
   * @param waitingBytes of all partitions of the member
   * @param settled settled but uncommitted messages; `undefined` for a group that commits nothing
   */
  constructor(partition: number, waitingBytes = new WaitingBytes(UNLIMITED), settled?: SettledRecords) {
    this.partition = partition
    this.#waitingBytes = waitingBytes
    this.#settled = settled
  }

  /** Settled but uncommitted messages. */
  get uncommitted(): SettledRecords['uncommitted'] {
    return this.#settled?.uncommitted
  }

  /** True if too many settled messages wait for a commit to wait for its interval. */
  get isCommitDue(): boolean {
    return this.#uncommittedCount >= COMMIT_AT
  }

  get #uncommittedCount(): number {
    return this.#settled?.count ?? 0
  }

  /** Marks a message as finished. True when the position moved. */
  finish(parcel: Parcel): boolean {
    if (parcel.record !== undefined) this.#settled?.add(parcel.offset, parcel.record)
    parcel.record = undefined
    return this.tracker.finish(parcel)
  }

  /** Records that everything below `position` is committed. */
  committed(position: number): void {
    this.#settled?.committed(position)
  }

  /** Returns true once after skipping messages that were settled before, when the position may have moved. */
  takeSkipped(): boolean {
    const skipped = this.#hasSkipped
    this.#hasSkipped = false
    return skipped
  }

  /** Number of fetched messages that wait to be lent. */
  get waiting(): number {
    return this.#returned.length + this.#fresh
  }

  /** Half a batch may wait while the next is fetched, so that the binder always has messages. */
  hasRoom(prefetch: number): boolean {
    if (this.waiting > Math.max(prefetch, this.#lastBatch >> 1)) return false
    if (this.tracker.size >= MAX_TAKEN || this.#uncommittedCount >= MAX_TAKEN) return false
    return this.#waitingBytes.hasRoom(this.#held)
  }

  append(batch: FetchedBatch): void {
    const records = batch.messages
    const end = Number(batch.lastOffset()) + 1
    const first = records.length === 0 ? end : Number(records[0]?.offset)
    this.tracker.startAt(first)
    this.#settled?.beginAt(first)
    this.#chunks.push({ records, end, taken: 0 })
    this.#hold(records.reduce((sum, record) => sum + heldBytes(record), 0))
    this.#fresh += records.length
    this.#lastBatch = records.length
    this.fetchPosition = end
    this.#dropTaken()
  }

  /** Skips offsets below `end` without records for the consumer. */
  skip(end: number): void {
    this.tracker.startAt(end)
    this.#chunks.push({ records: [], end, taken: 0 })
    this.fetchPosition = end
    this.#dropTaken()
  }

  next(): Parcel | undefined {
    return this.#takeReturned() ?? this.#takeFresh()
  }

  /** Returns the next message if it is a gap below a finished one. */
  nextGap(): Parcel | undefined {
    const parcel = this.#returned[0]
    return parcel !== undefined && this.tracker.isGap(parcel) ? this.#takeReturned() : undefined
  }

  /** Puts a released message back in its place in the order. */
  putBack(parcel: Parcel): void {
    parcel.returned = true
    this.#hold(bytesOf(parcel))
    const at = this.#returned.findIndex((each) => each.offset > parcel.offset)
    this.#returned.splice(at < 0 ? this.#returned.length : at, 0, parcel)
  }

  #hold(bytes: number): void {
    this.#held += bytes
    this.#waitingBytes.add(bytes)
  }

  #takeReturned(): Parcel | undefined {
    const parcel = this.#returned.shift()
    if (parcel !== undefined) this.#hold(-bytesOf(parcel))
    return parcel
  }

  #takeFresh(): Parcel | undefined {
    for (;;) {
      const parcel = this.#takeRecord()
      if (parcel?.record === undefined || this.#settled?.has(parcel.offset, parcel.record) !== true) return parcel
      this.finish(parcel)
      this.#hasSkipped = true
    }
  }

  #takeRecord(): Parcel | undefined {
    const chunk = this.#chunks[0]
    const record = chunk?.records[chunk.taken]
    if (chunk === undefined || record === undefined) return undefined
    chunk.taken++
    this.#fresh--
    this.#hold(-heldBytes(record))
    const bytes = record.bytes ?? record.value?.byteLength ?? 0
    const parcel = { assigned: this, record, bytes, offset: Number(record.offset), done: false, returned: false }
    this.tracker.add(parcel)
    if (chunk.taken === chunk.records.length) this.#dropTaken()
    return parcel
  }

  /** A batch may end with records that are not for the consumer. */
  #dropTaken(): void {
    for (let chunk = this.#chunks[0]; chunk !== undefined && chunk.taken === chunk.records.length; ) {
      this.tracker.skipTo(chunk.end)
      this.#chunks.shift()
      chunk = this.#chunks[0]
    }
  }
}

function bytesOf({ record }: Parcel): number {
  return record === undefined ? 0 : heldBytes(record)
}
