/** A message's place in its partition. Stored with the message, so that finishing it needs no lookup. */
export interface Slot {
  readonly offset: number
  done: boolean
}

const COMPACT_AFTER = 1_024

/**
 * What of a partition is finished, when messages finish in any order. `position` is the offset to commit: everything
 * below it is finished, so a commit never passes a message that may still be lost. Offsets are numbers: exact up to
 * 2^53, which a partition does not reach.
 *
 * `add` and `finish` are O(1) amortised; memory is one slot per message between the position and the newest.
 */
export class OffsetTracker {
  #slots: Slot[] = []
  #head = 0
  #next: number | undefined
  #highestDone = -1

  /** Offset of the lowest unfinished message, else the one after all seen; `undefined` before the first. */
  get position(): number | undefined {
    return this.#slots[this.#head]?.offset ?? this.#next
  }

  /** Number of remembered messages: the lowest unfinished one and all behind it. */
  get size(): number {
    return this.#slots.length - this.#head
  }

  /** True for a message that makes finished ones come again if it is left undone. */
  isGap(slot: Slot): boolean {
    return !slot.done && slot.offset < this.#highestDone
  }

  /** Tells where the first message lies; later calls are nothing. */
  startAt(offset: number): void {
    this.#next ??= offset
  }

  /** Registers the next message. Offsets rise, with gaps (compaction, control records). */
  add(slot: Slot): void {
    this.#slots.push(slot)
    this.#next = slot.offset + 1
  }

  /** Marks one finished; again is nothing. True when the position moved. */
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

  /** Everything up to `next` that was not added is none of ours (control records at the end of a batch). */
  skipTo(next: number): void {
    if (this.#next === undefined || next > this.#next) this.#next = next
  }
}
