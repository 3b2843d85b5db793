import { counted } from '../../core/counted-noun.ts'
import type { EncodedMessage } from '../channel/message.ts'
import type { ResolvedBrokerOptions } from './broker.ts'
import { Cursor } from './cursor.ts'
import { sizeOf } from './message-size.ts'

/** A message that waits for capacity. */
export interface Waiting {
  readonly message: EncodedMessage
  onIn(): void
}

/** Multiple of the limits up to which it accepts messages in `squeeze`. */
const HARD_LIMIT = 2
/** Share of the byte limit that has to be settled before the log is moved. */
const STEP = 1 / 8

/**
 * One partition: a log, and a cursor for each group and each anonymous subscription. Messages that arrive while it is full queue
 * in front of it, in order.
 */
export class MemoryPartition {
  readonly index: number
  readonly #options: ResolvedBrokerOptions
  readonly #groups: Map<string, Cursor> = new Map()
  readonly #anonymous: Set<Cursor> = new Set()
  readonly #line: Set<Waiting> = new Set()
  #log: EncodedMessage[] = []
  /** Total number of bytes ever appended, up to and including each message of the log. */
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

  /** Appends the message. False: there is no capacity. */
  offer(message: EncodedMessage): boolean {
    if (this.#line.size > 0 || this.#isFull()) return false
    this.append(message)
    return true
  }

  /** Queues the message; it is appended, and its reader notified, when it is its turn. */
  wait(waiting: Waiting): void {
    this.#line.add(waiting)
  }

  /** Removes the message from the queue. */
  leave(waiting: Waiting): void {
    this.#line.delete(waiting)
  }

  /**
   * Accepts a message that has waited too long, if a reader is running, because its handler may be waiting for this very message,
   * and would never settle the messages that fill the log. At most up to twice the limits.
   */
  squeeze({ message }: Waiting): boolean {
    const isAtWork = [...this.#groups.values(), ...this.#anonymous].some((cursor) => cursor.isAtWork)
    if (!isAtWork || this.#isFull(HARD_LIMIT)) return false
    this.append(message)
    this.pump()
    return true
  }

  /** Unsettled messages, as text for display. */
  get backlog(): string {
    return `${counted(this.end - this.#lowest(), 'message')}, ${this.#appendedBytes - this.#sumTo(this.#lowest())} bytes`
  }

  /** Adds a group, which starts at the earliest message. */
  addGroup(group: string): void {
    if (!this.#groups.has(group)) this.#groups.set(group, new Cursor(this, this.#base))
  }

  /** Returns the number of messages that the group has not settled. */
  lag(group: string): number {
    return this.#groups.get(group)?.unsettled ?? this.#log.length
  }

  groupCursor(group: string): Cursor {
    this.addGroup(group)
    return this.#groups.get(group) as Cursor
  }

  /** Returns a cursor for messages from now on; call `forget` at its end. */
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

  /** Called by cursors; trims occasionally, or at once when a publisher waits for capacity. */
  settledTo(offset: number): void {
    if ((offset & 1_023) === 0 || this.#line.size > 0) this.trim()
  }

  /**
   * Drops messages that every cursor has settled, except the retained ones; in big steps, because it moves the rest of the log.
   */
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

  /** Called for each message; checks in detail only when the log is long or large. */
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

  /** Returns the number of bytes appended before this offset. */
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
