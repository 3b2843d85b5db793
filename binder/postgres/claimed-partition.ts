import { Queue } from '../../core/queue.ts'
import type { Lendable } from '../transport/kit/lending.ts'
import { SettledPositions } from '../transport/kit/settled-positions.ts'

/** A fetched and unsettled message with its position. */
export interface Fetched extends Lendable {
  readonly position: number
}

/** Position of a group in a partition when the partition was claimed. */
export interface Claimed {
  readonly settled: number
  /** Messages below it may have been lent before. */
  readonly handed: number
  readonly done: readonly number[]
}

/** Settled messages to write. */
export interface Settled {
  /** Everything below is permanently done. */
  readonly settled: number
  /** Finished positions above. */
  readonly done: readonly number[]
}

/** Rarely reached: other keys may continue for seconds at full speed while one key waits. */
const MAX_BEHIND = 10_000

/**
 * A claimed partition in memory: fetched messages that wait, and how far it is settled. Waiting messages are lent in order. Pure.
 */
export class ClaimedPartition {
  /** Position of the next fetch. */
  next: number
  readonly #progress: SettledPositions
  readonly #handed: number
  /** Fetched, not lent; in order. Returned messages take their old positions. */
  readonly #waiting: Queue<Fetched> = new Queue()
  #waitingBytes = 0
  #changes = 0
  #written = 0

  constructor({ settled, handed, done }: Claimed) {
    this.#progress = new SettledPositions(settled, done)
    this.#handed = handed
    this.next = settled
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /**
   * True if the lowest unsettled message is so far back that no more shall be fetched, because each write contains everything
   * done above it.
   * @param prefetch number of messages that may be unsettled at once, such as in a dry run of a redrive, which settles none
   */
  isFarBehind(prefetch: number): boolean {
    return this.next - this.#progress.settled >= Math.max(MAX_BEHIND, prefetch)
  }

  /** Number of messages settled since the last write. */
  get unwritten(): number {
    return this.#changes - this.#written
  }

  /** True for a message that may have been lent before this claim. */
  wasHanded(position: number): boolean {
    return position < this.#handed
  }

  /** Appends the messages of a fetch from `next` on, in order; positions have no gaps. */
  append(fetched: readonly Fetched[]): void {
    for (const each of fetched) {
      this.next = each.position + 1
      if (this.#progress.has(each.position)) continue
      this.#waiting.push(each)
      this.#waitingBytes += each.bytes
    }
  }

  /** Takes the next waiting message. */
  take(): Fetched | undefined {
    const fetched = this.#waiting.shift()
    if (fetched !== undefined) this.#waitingBytes -= fetched.bytes
    return fetched
  }

  /** Settles a position. No effect if a transaction has already settled it. */
  settle(position: number): void {
    if (this.#progress.has(position)) return
    this.#changes++
    this.#progress.settle(position)
  }

  /** Returns the record for a transaction that also settles these: call `settledIn` once it has committed. */
  settledWith(positions: Iterable<number>): Settled & { readonly changes: number } {
    const progress = new SettledPositions(this.#progress.settled, this.#progress.done)
    for (const position of positions) if (!progress.has(position)) progress.settle(position)
    return { settled: progress.settled, done: ascending(progress.done), changes: this.#changes }
  }

  /** Records that a transaction has written these, and this many of the changes. */
  settledIn(positions: Iterable<number>, changes: number): void {
    for (const position of positions) if (!this.#progress.has(position)) this.#progress.settle(position)
    this.#written = Math.max(this.#written, changes)
  }

  /** Returns a lent message that is not settled. */
  putBack(fetched: Fetched): void {
    if (this.#progress.has(fetched.position)) return
    this.#waitingBytes += fetched.bytes
    const rest = this.#waiting.drain()
    const at = rest.findIndex((each) => each.position > fetched.position)
    rest.splice(at < 0 ? rest.length : at, 0, fetched.redelivered ? fetched : { ...fetched, redelivered: true })
    for (const each of rest) this.#waiting.push(each)
  }

  /** Returns the record to write now, and the number of changes in it: call `wrote` afterwards. */
  settled(): Settled & { readonly changes: number } {
    const { settled, done } = this.#progress
    return { settled, done: ascending(done), changes: this.#changes }
  }

  wrote(changes: number): void {
    this.#written = changes
  }
}

function ascending(positions: Iterable<number>): number[] {
  return [...positions].sort((a, b) => a - b)
}
