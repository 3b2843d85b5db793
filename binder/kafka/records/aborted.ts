/** An entry of the broker's list of aborted transactions that affect an answer. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/**
 * Tells which producers' transactions are aborted at a position of the log: from the first offset of a transaction to the next
 * abort marker of its producer. The list may be in any order; the broker orders it by the ends.
 */
export class AbortedTransactions {
  /** The last one is the next. */
  readonly #ahead: AbortedTransaction[]
  readonly #aborting = new Set<number>()

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#ahead = [...aborted].sort((a, b) => b.firstOffset - a.firstOffset)
  }

  reach(offset: number): void {
    for (let next = this.#ahead.at(-1); next !== undefined && next.firstOffset <= offset; next = this.#ahead.at(-1)) {
      this.#aborting.add(next.producerId)
      this.#ahead.pop()
    }
  }

  isAborted(producerId: number): boolean {
    return this.#aborting.has(producerId)
  }

  ended(producerId: number): void {
    this.#aborting.delete(producerId)
  }
}
