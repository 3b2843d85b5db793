import type { EncodedMessage } from '../channel/message.ts'

/** The log of a partition, as its cursors see it. */
export interface CursorLog {
  readonly index: number
  /** The offset of the next message. */
  readonly end: number
  at(offset: number): EncodedMessage | undefined
  settledTo(offset: number): void
  forget(cursor: Cursor): void
}

/** Where a cursor hands its messages. `offer` returns false when the reader is full or paused; it calls `wake` later. */
export interface Reader {
  offer(message: EncodedMessage, offset: number, redelivered: boolean, cursor: Cursor): boolean
}

/**
 * A place in a partition: everything below `settled` is done for good, `lent` offsets are with the reader, the rest above
 * is still to be handed out, in order.
 */
export class Cursor {
  readonly partition: CursorLog
  readonly #done: Set<number> = new Set()
  readonly #lent: Set<number> = new Set()
  #settled: number
  #next: number
  #reader: Reader | undefined
  #successor: Reader | undefined
  #pumping = false
  #handedOutUpTo = 0

  constructor(partition: CursorLog, start: number) {
    this.partition = partition
    this.#settled = start
    this.#next = start
  }

  get settled(): number {
    return this.#settled
  }

  get unsettled(): number {
    return this.partition.end - this.#settled - this.#done.size
  }

  /** Its reader holds some that it has not settled. */
  get isAtWork(): boolean {
    return this.#lent.size > 0
  }

  get reader(): Reader | undefined {
    return this.#reader
  }

  /** Moves to another reader once what the present one holds is settled or released: keys stay in order. */
  moveTo(reader: Reader): void {
    if (this.#reader === reader) {
      this.#successor = undefined
      return
    }
    this.#successor = reader
    this.#moveWhenFree()
  }

  /** Takes everything from a reader that is gone; what it held is handed out again. */
  seize(reader: Reader): void {
    if (this.#successor === reader) this.#successor = undefined
    if (this.#reader !== reader) return
    this.#reader = undefined
    this.#lent.clear()
    this.#next = this.#settled
    this.#moveWhenFree()
  }

  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    while (this.#reader !== undefined && this.#successor === undefined) {
      const offset = this.#next
      if (this.#done.has(offset) || this.#lent.has(offset)) {
        this.#next++
        continue
      }
      const message = this.partition.at(offset)
      if (message === undefined) break
      this.#next++
      this.#lent.add(offset)
      if (!this.#reader.offer(message, offset, offset < this.#handedOutUpTo, this)) {
        this.#lent.delete(offset)
        this.#next = offset
        break
      }
      if (offset >= this.#handedOutUpTo) this.#handedOutUpTo = offset + 1
    }
    this.#pumping = false
  }

  settle(offset: number): void {
    if (!this.#lent.delete(offset)) return
    if (offset === this.#settled) {
      this.#settled++
      while (this.#done.delete(this.#settled)) this.#settled++
      this.partition.settledTo(this.#settled)
    } else this.#done.add(offset)
    this.#moveWhenFree()
  }

  giveBack(offset: number): void {
    if (!this.#lent.delete(offset)) return
    this.#next = Math.min(this.#next, offset)
    this.#moveWhenFree()
  }

  #moveWhenFree(): void {
    if (this.#successor === undefined || this.#lent.size > 0) return
    this.#reader = this.#successor
    this.#successor = undefined
    this.#next = this.#settled
    this.pump()
  }
}
