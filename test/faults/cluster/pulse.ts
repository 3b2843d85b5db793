import { nowMs } from '../harness/events.ts'
import { PULSE_MS } from './settings.ts'

/** Counts the finished work of a line. Rejects while the count is unknown. */
export type Progress = () => Promise<number>

/**
 * Checks several times a second whether a line moves. Work that cannot be read has not moved: while the database is
 * down the line can neither work nor be observed.
 */
export class Pulse {
  readonly #progress: Progress
  readonly #timer: NodeJS.Timeout
  readonly #moves: number[] = []
  #count = -1
  #looking = false

  constructor(progress: Progress) {
    this.#progress = progress
    this.#timer = setInterval(() => void this.#look(), PULSE_MS)
  }

  /** Number of times that the count has risen since then. */
  movesSince(at: number): number {
    return this.#moves.filter((moved) => moved >= at).length
  }

  /** The longest time between two moves of which the second came after `from` and the first before `to`. */
  standstill(from: number, to: number): number {
    return longestGap(this.#moves, from, to)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const count = await this.#progress()
      if (count > this.#count) this.#moves.push(nowMs())
      this.#count = Math.max(count, this.#count)
    } catch {
      // The count is unknown at the moment.
    } finally {
      this.#looking = false
    }
  }
}

/** @param moves in order of time */
export function longestGap(moves: readonly number[], from: number, to: number): number {
  let longest = 0
  for (const [n, at] of moves.entries()) {
    const before = moves[n - 1]
    if (before !== undefined && at >= from && before <= to) longest = Math.max(longest, at - before)
  }
  const last = moves.at(-1)
  return last !== undefined && last < to ? Math.max(longest, to - Math.max(last, from)) : longest
}
