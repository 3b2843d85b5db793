import type { EncodedMessage } from '../message.ts'
import type { ResolvedBrokerOptions } from './broker.ts'

/** Where a cursor hands its messages. `offer` returns false when the reader is full or paused; it calls `wake` later. */
export interface Reader {
  offer(message: EncodedMessage, offset: number, redelivered: boolean, cursor: Cursor): boolean
}

/** One partition: a log, a cursor for each group and each anonymous subscription. */
export class MemoryPartition {
  readonly index: number
  readonly #options: ResolvedBrokerOptions
  readonly #groups: Map<string, Cursor> = new Map()
  readonly #anonymous: Set<Cursor> = new Set()
  readonly #roomWaiters: Array<() => void> = []
  #log: EncodedMessage[] = []
  /** Offset of the first message still in the log. */
  #base = 0

  constructor(index: number, options: ResolvedBrokerOptions) {
    this.index = index
    this.#options = options
  }

  get end(): number {
    return this.#base + this.#log.length
  }

  at(offset: number): EncodedMessage | undefined {
    return this.#log[offset - this.#base]
  }

  append(message: EncodedMessage): void {
    this.#log.push(message)
  }

  /** A new group starts at the earliest message there is. */
  addGroup(group: string): void {
    if (!this.#groups.has(group)) this.#groups.set(group, new Cursor(this, this.#base))
  }

  /** What the group has not settled. */
  lag(group: string): number {
    return this.#groups.get(group)?.unsettled ?? this.#log.length
  }

  groupCursor(group: string): Cursor {
    this.addGroup(group)
    return this.#groups.get(group) as Cursor
  }

  /** A cursor over what comes from now on; `forget` it. */
  anonymousCursor(): Cursor {
    const cursor = new Cursor(this, this.end)
    this.#anonymous.add(cursor)
    return cursor
  }

  forget(cursor: Cursor): void {
    this.#anonymous.delete(cursor)
    this.trim()
  }

  pump(): void {
    for (const cursor of this.#groups.values()) cursor.pump()
    for (const cursor of this.#anonymous) cursor.pump()
  }

  get full(): boolean {
    return this.end - this.#lowest() >= this.#options.maxBacklog
  }

  /** Resolves when the slowest cursor has caught up enough. */
  room(): Promise<void> {
    return new Promise((resolve) => this.#roomWaiters.push(resolve))
  }

  /** Called by cursors; trims now and then, or at once when a publisher waits for room. */
  settledTo(offset: number): void {
    if ((offset & 1_023) === 0 || this.#roomWaiters.length > 0) this.trim()
  }

  /** Drops what every cursor has settled, but for the retained tail; in big steps, since it moves the rest of the log. */
  trim(): void {
    const droppable = Math.min(this.#lowest(), this.end - this.#options.retainMessages) - this.#base
    if (droppable >= 1_024 && droppable * 2 >= this.#log.length) {
      this.#log = this.#log.slice(droppable)
      this.#base += droppable
    }
    if (this.#roomWaiters.length > 0 && !this.full) for (const resolve of this.#roomWaiters.splice(0)) resolve()
  }

  #lowest(): number {
    let lowest = this.end
    for (const cursor of this.#groups.values()) lowest = Math.min(lowest, cursor.settled)
    for (const cursor of this.#anonymous) lowest = Math.min(lowest, cursor.settled)
    return lowest
  }
}

/**
 * A place in a partition: everything below `settled` is done for good, `lent` offsets are with the reader, the rest above
 * is still to be handed out, in order.
 */
export class Cursor {
  readonly partition: MemoryPartition
  readonly #done: Set<number> = new Set()
  readonly #lent: Set<number> = new Set()
  #settled: number
  #next: number
  #reader: Reader | undefined
  #successor: Reader | undefined
  #pumping = false
  #handedOutUpTo = 0

  constructor(partition: MemoryPartition, start: number) {
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
