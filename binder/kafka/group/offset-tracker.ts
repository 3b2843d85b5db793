/** Position of a message in its partition. Stored with the message, so that finishing it needs no lookup. */
export interface Slot {
  readonly offset: number
  done: boolean
}

const COMPACT_AFTER = 1_024

/**
 * Tracks the finished messages of a partition, in any order. `position` is the offset to commit: everything below it is finished,
 * so a commit never passes a message that may still be lost. Offsets are numbers, exact up to 2^53, which no partition reaches.
 *
 * `add` and `finish` are O(1) amortised; memory is one slot per message between the position and the newest.
 */
export class OffsetTracker {
  #slots: Slot[] = []
  #head = 0
  #next: number | undefined
  #highestDone = -1

  /** Offset of the lowest unfinished message, else the one after all seen messages; `undefined` before the first. */
  get position(): number | undefined {
    return this.#slots[this.#head]?.offset ?? this.#next
  }

  /** Number of remembered messages: the lowest unfinished one and all later ones. */
  get size(): number {
    return this.#slots.length - this.#head
  }

  /** True for an unfinished message because of which finished ones would be redelivered. */
  isGap(slot: Slot): boolean {
    return !slot.done && slot.offset < this.#highestDone
  }

  /** Sets the offset of the first message; later calls have no effect. */
  startAt(offset: number): void {
    this.#next ??= offset
  }

  /** Registers the next message. Offsets rise, with gaps (compaction, control records). */
  add(slot: Slot): void {
    this.#slots.push(slot)
    this.#next = slot.offset + 1
  }

  /** Marks a message as finished; repetitions have no effect. True when the position moved. */
  finish(slot: Slot): boolean {
    if (slot.done) return false
    slot.done = true
    if (slot.offset > this.#highestDone) this.#highestDone = slot.offset
    if (this.#slots[this.#head] !== slot) return false
    do this.#head++
    while (this.#slots[this.#head]?.done === true)
    if (this.#head >= COMPACT_AFTER && this.#head * 2 >= this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head)
      this.#head = 0
    }
    return true
  }

  /** Skips offsets below `next` that were not added (control records at the end of a batch). */
  skipTo(next: number): void {
    if (this.#next === undefined || next > this.#next) this.#next = next
  }
}
