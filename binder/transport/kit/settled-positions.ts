/**
 * How far a partition is settled, if its messages are settled in any order: all positions below `settled`, and those in `done`
 * above it. Positions increase by one.
 */
export class SettledPositions {
  readonly #done: Set<number>
  #settled: number

  constructor(settled: number, done: Iterable<number> = []) {
    this.#settled = settled
    this.#done = new Set(done)
  }

  get settled(): number {
    return this.#settled
  }

  /** Above `settled`, in no order. */
  get done(): ReadonlySet<number> {
    return this.#done
  }

  has(position: number): boolean {
    return position < this.#settled || this.#done.has(position)
  }

  /** Call it once per position. True if `settled` moved. */
  settle(position: number): boolean {
    if (position !== this.#settled) {
      this.#done.add(position)
      return false
    }
    this.#settled++
    while (this.#done.delete(this.#settled)) this.#settled++
    return true
  }
}
