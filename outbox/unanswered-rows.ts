import { bodyBytes, type WindowRow } from './publish-window.ts'
import type { ResolvedRelayOptions } from './relay-options.ts'

/** Calls without an answer hold the rows of this many full windows at most; with more, the windows wait for an answer. */
const MOST_HELD = { rows: 100, bytes: 16 }

/** Counts the rows of one partition that are in calls without an answer. */
export class UnansweredRows {
  readonly #most: { readonly rows: number; readonly bytes: number }
  #rows = 0
  #bytes = 0

  constructor({ batchSize, batchBytes }: Pick<ResolvedRelayOptions, 'batchSize' | 'batchBytes'>) {
    this.#most = { rows: MOST_HELD.rows * batchSize, bytes: MOST_HELD.bytes * batchBytes }
  }

  /** @returns false, and counts nothing: they would be too many */
  add(rows: readonly WindowRow[]): boolean {
    const bytes = bytesOf(rows)
    if (this.#rows + rows.length > this.#most.rows || this.#bytes + bytes > this.#most.bytes) return false
    this.#rows += rows.length
    this.#bytes += bytes
    return true
  }

  /** Takes out rows that the broker has answered for. */
  remove(rows: readonly WindowRow[]): void {
    this.#rows -= rows.length
    this.#bytes -= bytesOf(rows)
  }
}

function bytesOf(rows: readonly WindowRow[]): number {
  return rows.reduce((sum, row) => sum + bodyBytes(row), 0)
}
