/**
 * Decides, without I/O, how many transactions may be open at once, and how many pieces of work share one.
 *
 * Sharing takes turns on one connection, so it must not cost the work its concurrency. The decision uses a slowly rising minimum
 * of the durations of recent work: work that waits for something else (another service, a slow statement, a distant database)
 * gets as many transactions as there are connections, and one per piece if it is slow.
 */
import { MINUTE, SECOND } from '../clock.ts'

/** Intended duration of a shared transaction. */
const MEANT_MS = 20
/** Maximum number of savepoints that have written: a backend keeps up to 64 in shared memory, and readers are slower beyond. */
const MAX_SHARED = 32
/** Two, so that one works while the other commits. */
const LEAST_LANES = 2
/** Factor by which the minimum rises with each piece of work. */
const FORGET = 1.01
const FIRST_PAUSE_MS = 1 * SECOND
const LONGEST_PAUSE_MS = 1 * MINUTE
/** Number of pieces that shared without a conflict after which pauses start again at the shortest. */
const CALM = 1_000
/** Consecutive successful pieces after which savepoints are left out: initial value and upper limit. */
const TRUSTED_AFTER = 1_000
const TRUSTED_AFTER_AT_MOST = 256_000
/** Consecutive pieces with at most one statement after which they are called at once: initial value and upper limit. */
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

  /** Records the duration of a piece of work inside its transaction. */
  took(ms: number): void {
    this.#floorMs = this.#floorMs === undefined ? ms : Math.min(ms, this.#floorMs * FORGET)
  }

  /** Records a piece of work that was done in a shared transaction. */
  shared(): void {
    this.#calm++
    if (this.#calm >= CALM) this.#nextPauseMs = FIRST_PAUSE_MS
    this.#clean++
    if (this.#clean >= 2 * this.#trustedAfter) this.#trustedAfter = TRUSTED_AFTER
  }

  /**
   * True if so many pieces in a row succeeded that savepoints cost more than they save: without them, one failure makes all
   * pieces of a transaction run again.
   */
  get isTrusted(): boolean {
    return this.#clean >= this.#trustedAfter
  }

  /**
   * Records a call of a piece in a shared transaction. @param isSingle true if it had at most one statement, with which it ended
   */
  ran(isSingle: boolean): void {
    this.#single = isSingle ? this.#single + 1 : 0
    if (this.#single >= 2 * this.#togetherAfter) this.#togetherAfter = TOGETHER_AFTER
  }

  /** Called when a piece that ran together with others sent a second statement: all of them run again. */
  several(): void {
    // Called once per transaction, however many pieces sent a second one.
    if (this.#single >= this.#togetherAfter)
      this.#togetherAfter = Math.min(this.#togetherAfter * 2, TOGETHER_AFTER_AT_MOST)
    this.#single = 0
  }

  /**
   * True if enough pieces in a row had one statement, so that the next ones may run together: they can only be undone together.
   */
  get mayGoTogether(): boolean {
    return this.isTrusted && this.#single >= this.#togetherAfter
  }

  /** A piece of work has failed in a shared transaction, and may do so at each retry. */
  failed(): void {
    this.#clean = 0
    this.#trustedAfter = Math.min(this.#trustedAfter * 2, TRUSTED_AFTER_AT_MOST)
  }

  /** Sharing caused a conflict: it pauses for a while, longer each time. */
  conflicted(now: number): void {
    if (now < this.#pausedUntil) return
    this.#calm = 0
    this.#pausedUntil = now + this.#nextPauseMs
    this.#nextPauseMs = Math.min(this.#nextPauseMs * 2, LONGEST_PAUSE_MS)
  }

  /** The work does something that only its own transaction allows. */
  endSharing(): void {
    this.#isOver = true
  }

  /** Number of transactions that may be open at once. */
  transactions(waiting: number, connections: number): number {
    if (this.#floorMs === undefined) return connections
    return Math.min(Math.max(LEAST_LANES, Math.ceil((waiting * this.#floorMs) / MEANT_MS)), connections)
  }

  /** Number of pieces for the next transaction. @param free number of transactions that may be opened now */
  share(waiting: number, free: number, now: number): number {
    if (this.#isOver || now < this.#pausedUntil || this.#floorMs === undefined) return 1
    const most = Math.min(MAX_SHARED, Math.floor(MEANT_MS / this.#floorMs))
    return Math.max(1, Math.min(Math.ceil(waiting / free), most))
  }
}
