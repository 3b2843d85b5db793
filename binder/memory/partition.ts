import { counted } from '../../core/counted-noun.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { ResolvedBrokerOptions } from './broker.ts'
import { Cursor } from './cursor.ts'
import { sizeOf } from './message-size.ts'

/** A message that waits for room. */
export interface Waiting {
  readonly message: EncodedMessage
  onIn(): void
}

/** Multiple of its limits that it accepts at most, see `squeeze`. */
const HARD_LIMIT = 2
/** A part of the byte bound: so much has to be settled before the log is moved. */
const STEP = 1 / 8

/**
 * One partition: a log, a cursor for each group and each anonymous subscription. What comes while it is full waits in a
 * line in front of it, in order.
 */
export class MemoryPartition {
  readonly index: number
  readonly #options: ResolvedBrokerOptions
  readonly #groups: Map<string, Cursor> = new Map()
  readonly #anonymous: Set<Cursor> = new Set()
  readonly #line: Set<Waiting> = new Set()
  #log: EncodedMessage[] = []
  /** Bytes that were ever appended, up to and with each message of the log. */
  #sums: number[] = []
  #appendedBytes = 0
  #droppedBytes = 0
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
    this.#sums.push((this.#appendedBytes += sizeOf(message)))
  }

  /** Appends it, or not when there is no room. */
  offer(message: EncodedMessage): boolean {
    if (this.#line.size > 0 || this.#isFull()) return false
    this.append(message)
    return true
  }

  /** Behind those that wait already; appended, and its reader told, when it is its turn. */
  wait(waiting: Waiting): void {
    this.#line.add(waiting)
  }

  /** Waits no longer. */
  leave(waiting: Waiting): void {
    this.#line.delete(waiting)
  }

  /**
   * Takes one that has waited for too long, if a reader is at work: its handler may be waiting for this very message, and
   * would never settle what fills the log. Not beyond twice the bounds.
   */
  squeeze({ message }: Waiting): boolean {
    const isAtWork = [...this.#groups.values(), ...this.#anonymous].some((cursor) => cursor.isAtWork)
    if (!isAtWork || this.#isFull(HARD_LIMIT)) return false
    this.append(message)
    this.pump()
    return true
  }

  /** Unsettled messages, as text for people. */
  get backlog(): string {
    return `${counted(this.end - this.#lowest(), 'message')}, ${this.#appendedBytes - this.#sumTo(this.#lowest())} bytes`
  }

  /** A new group starts at the earliest message there is. */
  addGroup(group: string): void {
    if (!this.#groups.has(group)) this.#groups.set(group, new Cursor(this, this.#base))
  }

  /** Number of messages that the group has not settled. */
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

  /** Called by cursors; trims now and then, or at once when a publisher waits for room. */
  settledTo(offset: number): void {
    if ((offset & 1_023) === 0 || this.#line.size > 0) this.trim()
  }

  /** Drops what every cursor has settled, but for the retained tail; in big steps, since it moves the rest of the log. */
  trim(): void {
    const droppable = Math.min(this.#lowest(), this.end - this.#options.retainMessages) - this.#base
    if (droppable >= 1_024 && droppable * 2 >= this.#log.length) this.#drop(droppable)
    if (this.#line.size > 0) this.#admit()
  }

  #admit(): void {
    let isAny = false
    for (const waiting of this.#line) {
      if (this.#isFull()) break
      this.#line.delete(waiting)
      this.append(waiting.message)
      waiting.onIn()
      isAny = true
    }
    if (isAny) this.pump()
  }

  /** Asked for each message: looks twice only when the log is long, or large. */
  #isFull(times = 1): boolean {
    const maxMessages = times * this.#options.maxBacklog
    const maxBytes = times * this.#options.maxBacklogBytes
    const isLarge = this.#appendedBytes - this.#droppedBytes >= maxBytes
    if (this.#log.length < maxMessages && !isLarge) return false
    const lowest = this.#lowest()
    if (this.end - lowest >= maxMessages) return true
    if (!isLarge) return false
    if (this.#sumTo(lowest) - this.#droppedBytes >= STEP * maxBytes) this.#drop(lowest - this.#base)
    return this.#appendedBytes - this.#droppedBytes >= maxBytes
  }

  /** Bytes appended before this offset. */
  #sumTo(offset: number): number {
    return this.#sums[offset - this.#base - 1] ?? this.#droppedBytes
  }

  #drop(count: number): void {
    this.#droppedBytes = this.#sumTo(this.#base + count)
    this.#log = this.#log.slice(count)
    this.#sums = this.#sums.slice(count)
    this.#base += count
  }

  #lowest(): number {
    let lowest = this.end
    for (const cursor of this.#groups.values()) lowest = Math.min(lowest, cursor.settled)
    for (const cursor of this.#anonymous) lowest = Math.min(lowest, cursor.settled)
    return lowest
  }
}
