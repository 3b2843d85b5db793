import type { EncodedMessage } from '../channel/message.ts'
import type { Lendable } from '../transport/kit/lending.ts'
import { SettledPositions } from '../transport/kit/settled-positions.ts'

/** The part of a partition's log that cursors use. */
export interface CursorLog {
  readonly index: number
  /** The offset of the next message. */
  readonly end: number
  at(offset: number): EncodedMessage | undefined
  settledTo(offset: number): void
  forget(cursor: Cursor): void
}

/** A reader of a cursor. */
export interface Reader {
  /** Called when there may be messages to take. */
  wake(cursor: Cursor): void
}

/** A lent message of the log. */
export interface LentMessage extends Lendable {
  readonly offset: number
}

/**
 * A position in a partition: how far it is settled, and which offsets are lent to the reader; later messages are lent in order.
 */
export class Cursor {
  readonly partition: CursorLog
  readonly #progress: SettledPositions
  readonly #lent: Set<number> = new Set()
  #next: number
  #reader: Reader | undefined
  #successor: Reader | undefined
  #handedOutUpTo = 0

  constructor(partition: CursorLog, start: number) {
    this.partition = partition
    this.#progress = new SettledPositions(start)
    this.#next = start
  }

  get settled(): number {
    return this.#progress.settled
  }

  get unsettled(): number {
    return this.partition.end - this.#progress.settled - this.#progress.done.size
  }

  /** True if its reader holds unsettled messages. */
  get isAtWork(): boolean {
    return this.#lent.size > 0
  }

  get reader(): Reader | undefined {
    return this.#reader
  }

  /** Moves to another reader once messages held by the present one are settled or released, so that keys stay in order. */
  moveTo(reader: Reader): void {
    if (this.#reader === reader) {
      this.#successor = undefined
      return
    }
    this.#successor = reader
    this.#moveWhenFree()
  }

  /** Takes everything from a lost reader, whose messages are delivered again. */
  seize(reader: Reader): void {
    if (this.#successor === reader) this.#successor = undefined
    if (this.#reader !== reader) return
    this.#reader = undefined
    this.#lent.clear()
    this.#next = this.settled
    this.#moveWhenFree()
  }

  /** Called when messages may have arrived. */
  pump(): void {
    this.#reader?.wake(this)
  }

  /** Lends the next message; `undefined` once it is to move to another reader. */
  take(): LentMessage | undefined {
    if (this.#successor !== undefined) return undefined
    while (this.#lent.has(this.#next) || this.#progress.has(this.#next)) this.#next++
    const offset = this.#next
    const message = this.partition.at(offset)
    if (message === undefined) return undefined
    this.#next++
    this.#lent.add(offset)
    const redelivered = offset < this.#handedOutUpTo
    if (!redelivered) this.#handedOutUpTo = offset + 1
    return { message, offset, bytes: message.body?.byteLength ?? 0, redelivered }
  }

  settle(offset: number): void {
    if (!this.#lent.delete(offset)) return
    if (this.#progress.settle(offset)) this.partition.settledTo(this.settled)
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
    this.#next = this.settled
    this.pump()
  }
}
