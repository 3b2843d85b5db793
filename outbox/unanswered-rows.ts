import { bodyBytes, type WindowRow } from './publish-window.ts'
import type { ResolvedRelayOptions } from './relay-options.ts'

/** Maximum number of full windows whose rows may be in calls without a response; beyond it, the windows wait for a response. */
const MOST_HELD = { rows: 100, bytes: 16 }

/** Counts the rows of one partition that are in calls without a response. */
export class UnansweredRows {
  readonly #most: { readonly rows: number; readonly bytes: number }
  #rows = 0
  #bytes = 0

  constructor({ batchSize, batchBytes }: Pick<ResolvedRelayOptions, 'batchSize' | 'batchBytes'>) {
    this.#most = { rows: MOST_HELD.rows * batchSize, bytes: MOST_HELD.bytes * batchBytes }
  }

  /** @returns false, without counting, if they would be too many */
  add(rows: readonly WindowRow[]): boolean {
    const bytes = bytesOf(rows)
    if (this.#rows + rows.length > this.#most.rows || this.#bytes + bytes > this.#most.bytes) return false
    this.#rows += rows.length
    this.#bytes += bytes
    return true
  }

  /** Removes rows for which the broker has responded. */
  remove(rows: readonly WindowRow[]): void {
    this.#rows -= rows.length
    this.#bytes -= bytesOf(rows)
  }
}

function bytesOf(rows: readonly WindowRow[]): number {
  return rows.reduce((sum, row) => sum + bodyBytes(row), 0)
}
