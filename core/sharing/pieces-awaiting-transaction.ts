import { Queue } from '../queue.ts'
import type { Piece } from './open-transaction.ts'

/** The pieces of work that wait for a transaction, and which of them may share one. */
export class PiecesAwaitingTransaction<Item> {
  readonly #nameOf: ((item: Item) => string) | undefined
  readonly #queue: Queue<Piece<Item>> = new Queue()

  /** @param nameOf two pieces with the same name never share a transaction. @default all may */
  constructor(nameOf: ((item: Item) => string) | undefined) {
    this.#nameOf = nameOf
  }

  get length(): number {
    return this.#queue.length
  }

  push(piece: Piece<Item>): void {
    this.#queue.push(piece)
  }

  /** Removes the next pieces that may share a transaction; at least one. */
  take(most: number): Piece<Item>[] {
    const taken: Piece<Item>[] = []
    const names = new Set<string>()
    for (let next = this.#queue.peek(); next !== undefined && taken.length < most; next = this.#queue.peek()) {
      const name = this.#nameOf?.(next.item)
      const mayJoin = taken.length === 0 || (!next.mustBeAlone && (name === undefined || !names.has(name)))
      if (!mayJoin) break
      this.#queue.shift()
      taken.push(next)
      if (next.mustBeAlone) break
      if (name !== undefined) names.add(name)
    }
    return taken
  }
}
