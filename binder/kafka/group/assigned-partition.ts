import type { FetchedBatch, IncomingRecord } from '../driver.ts'
import { heldBytes } from '../records/record-memory-size.ts'
import { WaitingBytes } from './fetch-buffer-limits.ts'
import { OffsetTracker, type Slot } from './offset-tracker.ts'
import type { SettledRecords } from './settled-uncommitted-offsets.ts'

/** A message of a partition that is lent, or was lent before in this process and given back. */
export interface Parcel extends Slot {
  readonly assigned: AssignedPartition
  /** `undefined` once it is finished: its slot stays until all earlier messages are finished. */
  record: IncomingRecord | undefined
  readonly bytes: number
  returned: boolean
}

/** Rest of a fetched batch, and the offset after it. */
interface Chunk {
  readonly records: readonly IncomingRecord[]
  readonly end: number
  taken: number
}

/**
 * Most messages taken from the lowest unfinished one on, and most settled ones that are not committed: this member remembers their
 * offsets, and Kafka redelivers all of them after a crash. Rarely reached: other keys may go on for seconds at full speed while one
 * key waits, or while the broker refuses commits.
 */
const MAX_TAKEN = 50_000
/** Number of settled messages that are committed at once, without waiting for `commitIntervalMs`. */
const COMMIT_AT = MAX_TAKEN / 2

const UNLIMITED = { prefetchBytes: Number.POSITIVE_INFINITY, partitions: 1 } as const

/**
 * One assigned partition: what was fetched and not yet lent, what is lent, and how far it is finished. What waits is
 * kept as the driver gave it; a message costs an object of ours only while it is lent.
 */
export class AssignedPartition {
  readonly partition: number
  readonly tracker = new OffsetTracker()
  /** Lent and not settled. */
  unsettled = 0
  unsettledBytes = 0
  /** Where the next fetch begins; `undefined` before the first batch. */
  fetchPosition: number | undefined

  readonly #chunks: Chunk[] = []
  /** Given back, by offset; all of it lies below what was never lent. */
  readonly #returned: Parcel[] = []
  readonly #waitingBytes: WaitingBytes
  readonly #settled: SettledRecords | undefined
  #hasSkipped = false
  #fresh = 0
  #lastBatch = 0
  #held = 0

  /**
   * @param waitingBytes of all partitions of the member
   * @param settled settled messages that are not committed; `undefined` for a group that commits nothing
   */
  constructor(partition: number, waitingBytes = new WaitingBytes(UNLIMITED), settled?: SettledRecords) {
    this.partition = partition
    this.#waitingBytes = waitingBytes
    this.#settled = settled
  }

  /** Settled and not committed. */
  get uncommitted(): SettledRecords['uncommitted'] {
    return this.#settled?.uncommitted
  }

  /** True once so many settled messages wait for their commit that it should not wait for its interval. */
  get isCommitDue(): boolean {
    return this.#uncommittedCount >= COMMIT_AT
  }

  get #uncommittedCount(): number {
    return this.#settled?.count ?? 0
  }

  /** Marks one finished. True when the position moved. */
  finish(parcel: Parcel): boolean {
    if (parcel.record !== undefined) this.#settled?.add(parcel.offset, parcel.record)
    parcel.record = undefined
    return this.tracker.finish(parcel)
  }

  /** Everything below `position` is committed. */
  committed(position: number): void {
    this.#settled?.committed(position)
  }

  /** True once after messages were passed over that were settled before: the position may have moved. */
  takeSkipped(): boolean {
    const skipped = this.#hasSkipped
    this.#hasSkipped = false
    return skipped
  }

  /** Fetched and waiting to be lent. */
  get waiting(): number {
    return this.#returned.length + this.#fresh
  }

  /** Half a batch may wait while the next is fetched, so that the binder does not run dry in between. */
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

  /** Moves past offsets below `end` that were never appended: they hold no records for the consumer. */
  skip(end: number): void {
    this.tracker.startAt(end)
    this.#chunks.push({ records: [], end, taken: 0 })
    this.fetchPosition = end
    this.#dropTaken()
  }

  next(): Parcel | undefined {
    return this.#takeReturned() ?? this.#takeFresh()
  }

  /** The next one if it is a gap below something finished. */
  nextGap(): Parcel | undefined {
    const parcel = this.#returned[0]
    return parcel !== undefined && this.tracker.isGap(parcel) ? this.#takeReturned() : undefined
  }

  /** Puts a released message back to its place in the order. */
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

  /** After its last record a batch may go on with records that are none of ours. */
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
