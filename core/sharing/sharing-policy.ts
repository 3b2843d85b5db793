/**
 * Deciding, without I/O: how many transactions may be open at once, and how many pieces of work share one.
 *
 * Sharing takes turns on one connection, so it must not cost the work its concurrency. The decision uses a slowly
 * rising minimum of the times that recent work took: work that waits for something else (another service, a slow statement, a database that is
 * far away) gets as many transactions as there are connections, and one for each piece when it is slow.
 */
import { MINUTE, SECOND } from '../clock.ts'

/** How long a shared transaction is meant to be at work. */
const MEANT_MS = 20
/** Savepoints that have written; a backend keeps up to 64 in shared memory, and readers pay beyond. */
const MAX_SHARED = 32
/** Two, so that one works while the other commits. */
const LEAST_LANES = 2
/** Factor by which that minimum rises with each piece of work. */
const FORGET = 1.01
const FIRST_PAUSE_MS = 1 * SECOND
const LONGEST_PAUSE_MS = 1 * MINUTE
/** Pieces of work that shared without a conflict before a pause begins again at the shortest. */
const CALM = 1_000
/** Consecutive pieces without a failure before they go without savepoints: initial value and upper limit. */
const TRUSTED_AFTER = 1_000
const TRUSTED_AFTER_AT_MOST = 256_000
/** Consecutive pieces with one statement at most before they are called at once: initial value and upper limit. */
const TOGETHER_AFTER = 1_000
const TOGETHER_AFTER_AT_MOST = 256_000

export class SharingPolicy {
  #floorMs: number | undefined
  #pausedUntil = Number.NEGATIVE_INFINITY
  #nextPauseMs = FIRST_PAUSE_MS
  #calm = 0
  #clean = 0
  #trustedAfter = TRUSTED_AFTER
  #single = 0
  #togetherAfter = TOGETHER_AFTER
  #isOver = false

  /** A piece of work took so long inside its transaction. */
  took(ms: number): void {
    this.#floorMs = this.#floorMs === undefined ? ms : Math.min(ms, this.#floorMs * FORGET)
  }

  /** A piece of work was done in a shared transaction. */
  shared(): void {
    this.#calm++
    if (this.#calm >= CALM) this.#nextPauseMs = FIRST_PAUSE_MS
    this.#clean++
    if (this.#clean >= 2 * this.#trustedAfter) this.#trustedAfter = TRUSTED_AFTER
  }

  /**
   * Whether enough pieces in a row succeeded that savepoints cost more than they save: without them, one failure makes all pieces of
   * a transaction run again.
   */
  get isTrusted(): boolean {
    return this.#clean >= this.#trustedAfter
  }

  /** A piece of work was called in a shared transaction. @param isSingle it had one statement at most, with which it ended */
  ran(isSingle: boolean): void {
    this.#single = isSingle ? this.#single + 1 : 0
    if (this.#single >= 2 * this.#togetherAfter) this.#togetherAfter = TOGETHER_AFTER
  }

  /** Called when a piece that ran together with others wanted a second statement: all of them run again. */
  several(): void {
    // Told once of a transaction, however many of it wanted one.
    if (this.#single >= this.#togetherAfter)
      this.#togetherAfter = Math.min(this.#togetherAfter * 2, TOGETHER_AFTER_AT_MOST)
    this.#single = 0
  }

  /** Whether enough pieces in a row had one statement that the next ones may run together: they can be undone only together. */
  get mayGoTogether(): boolean {
    return this.isTrusted && this.#single >= this.#togetherAfter
  }

  /** A piece of work has failed in a shared transaction: it may do so each time that it is tried again. */
  failed(): void {
    this.#clean = 0
    this.#trustedAfter = Math.min(this.#trustedAfter * 2, TRUSTED_AFTER_AT_MOST)
  }

  /** Sharing got in the way of the work: it is left off for a while, longer each time. */
  conflicted(now: number): void {
    if (now < this.#pausedUntil) return
    this.#calm = 0
    this.#pausedUntil = now + this.#nextPauseMs
    this.#nextPauseMs = Math.min(this.#nextPauseMs * 2, LONGEST_PAUSE_MS)
  }

  /** The work does what only a transaction of its own allows. */
  endSharing(): void {
    this.#isOver = true
  }

  /** Transactions that may be open at once. */
  transactions(waiting: number, connections: number): number {
    if (this.#floorMs === undefined) return connections
    return Math.min(Math.max(LEAST_LANES, Math.ceil((waiting * this.#floorMs) / MEANT_MS)), connections)
  }

  /** Pieces of work for the next transaction. @param free transactions that may be opened now */
  share(waiting: number, free: number, now: number): number {
    if (this.#isOver || now < this.#pausedUntil || this.#floorMs === undefined) return 1
    const most = Math.min(MAX_SHARED, Math.floor(MEANT_MS / this.#floorMs))
    return Math.max(1, Math.min(Math.ceil(waiting / free), most))
  }
}
