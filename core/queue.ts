/** First in, first out, in amortised constant time; `Array.shift` moves a long array at each call. */
export class Queue<Item> {
  #items: Item[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: Item): void {
    this.#items.push(item)
  }

  peek(): Item | undefined {
    return this.#items[this.#head]
  }

  shift(): Item | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head] as Item
    this.#items[this.#head++] = undefined as Item
    if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Inserts items before the waiting ones, in the given order. */
  putBack(items: readonly Item[]): void {
    this.#items = [...items, ...this.items()]
    this.#head = 0
  }

  /** The waiting items, in order; removes none. */
  items(): Item[] {
    return this.#items.slice(this.#head)
  }

  drain(): Item[] {
    const items = this.items()
    this.#items = []
    this.#head = 0
    return items
  }
}
