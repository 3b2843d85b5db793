/** Future events, ordered by time and then by insertion. Time only moves in `next`. */
export class EventQueue {
  /** Milliseconds since the history began. */
  nowMs = 0
  readonly #heap: Entry[] = []
  #entered = 0

  /** @returns a function that removes it */
  at(atMs: number, run: () => unknown): () => void {
    const entry: Entry = { atMs: Math.max(atMs, this.nowMs), order: this.#entered++, run }
    this.#heap.push(entry)
    this.#up(this.#heap.length - 1)
    return () => void (entry.run = undefined)
  }

  after(delayMs: number, run: () => unknown): () => void {
    return this.at(this.nowMs + delayMs, run)
  }

  /** Moves time to the next event, and returns it. `undefined` if there is none left. */
  next(): (() => unknown) | undefined {
    for (;;) {
      const entry = this.#pop()
      if (entry === undefined) return undefined
      if (entry.run === undefined) continue
      this.nowMs = entry.atMs
      return entry.run
    }
  }

  clear(): void {
    this.#heap.length = 0
  }

  #pop(): Entry | undefined {
    const [first] = this.#heap
    const last = this.#heap.pop()
    if (first !== last && last !== undefined) {
      this.#heap[0] = last
      this.#down()
    }
    return first
  }

  #up(from: number): void {
    for (let index = from; index > 0; ) {
      const parent = (index - 1) >> 1
      if (!this.#isBefore(index, parent)) return
      this.#swap(index, parent)
      index = parent
    }
  }

  #down(): void {
    for (let index = 0; ; ) {
      const left = 2 * index + 1
      let first = index
      if (left < this.#heap.length && this.#isBefore(left, first)) first = left
      if (left + 1 < this.#heap.length && this.#isBefore(left + 1, first)) first = left + 1
      if (first === index) return
      this.#swap(index, first)
      index = first
    }
  }

  #isBefore(a: number, b: number): boolean {
    const one = this.#heap[a] as Entry
    const other = this.#heap[b] as Entry
    return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
  }

  #swap(a: number, b: number): void {
    const one = this.#heap[a] as Entry
    this.#heap[a] = this.#heap[b] as Entry
    this.#heap[b] = one
  }
}

interface Entry {
  readonly atMs: number
  readonly order: number
  run: (() => unknown) | undefined
}
