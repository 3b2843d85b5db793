import type { IncomingRecord, KafkaBatch } from './client.ts'
import { OffsetTracker, type Slot } from './offset-tracker.ts'

/** A message of a lane: fetched, and either waiting here or lent to the binder. */
export interface Parcel {
  readonly lane: Lane
  readonly slot: Slot
  readonly record: IncomingRecord
  readonly bytes: number
  /** Was lent before in this process and given back. */
  returned: boolean
}

/** One assigned partition: what was fetched and not yet lent, what is lent, and how far it is finished. */
export class Lane {
  readonly partition: number
  readonly tracker = new OffsetTracker()
  /** Lent and not settled. */
  unsettled = 0
  unsettledBytes = 0
  /** Where the next fetch begins; `undefined` before the first batch. */
  fetchPosition: number | undefined

  #backlog: Parcel[] = []
  #head = 0
  #lastBatch = 0

  constructor(partition: number) {
    this.partition = partition
  }

  /** Fetched and waiting to be lent. */
  get waiting(): number {
    return this.#backlog.length - this.#head
  }

  /** Half a batch may wait while the next is fetched, so that the binder does not run dry in between. */
  hasRoom(prefetch: number): boolean {
    return this.waiting <= Math.max(prefetch, this.#lastBatch >> 1)
  }

  append(batch: KafkaBatch): void {
    for (const record of batch.messages) {
      const slot = this.tracker.add(Number(record.offset))
      this.#backlog.push({ lane: this, slot, record, bytes: record.value?.byteLength ?? 0, returned: false })
    }
    this.#lastBatch = batch.messages.length
    this.fetchPosition = Number(batch.lastOffset()) + 1
    this.tracker.skipTo(this.fetchPosition)
  }

  next(): Parcel | undefined {
    const parcel = this.#backlog[this.#head]
    if (parcel === undefined) return undefined
    this.#head++
    if (this.#head === this.#backlog.length || this.#head >= 1_024) {
      this.#backlog = this.#backlog.slice(this.#head)
      this.#head = 0
    }
    return parcel
  }

  /** The next one if it is a gap below something finished. */
  nextGap(): Parcel | undefined {
    const parcel = this.#backlog[this.#head]
    return parcel !== undefined && this.tracker.isGap(parcel.slot) ? this.next() : undefined
  }

  /** Puts a released message back to its place in the order. */
  putBack(parcel: Parcel): void {
    parcel.returned = true
    const waiting = this.#backlog.slice(this.#head)
    const at = waiting.findIndex((each) => each.slot.offset > parcel.slot.offset)
    waiting.splice(at < 0 ? waiting.length : at, 0, parcel)
    this.#backlog = waiting
    this.#head = 0
  }
}
