/** An item with its position; -1 after it was removed. */
export interface Slot<T> {
  readonly item: T
  index: number
}

/**
 * A set without order, for items that are added and removed quickly. Each time a `Set` grows it leaves a table behind that still
 * refers to its items, and keeps them from being collected young: that made garbage collection a quarter of the cost of a lock.
 */
export class SwapRemoveSet<T> {
  readonly #places: Array<Slot<T>> = []

  get size(): number {
    return this.#places.length
  }

  add(item: T): Slot<T> {
    const place = { item, index: this.#places.length }
    this.#places.push(place)
    return place
  }

  /** Removes an item; the last one takes its place. No effect if it was already removed. */
  remove(place: Slot<T>): void {
    const { index } = place
    if (index < 0) return
    place.index = -1
    const last = this.#places.pop()
    if (last === undefined || last === place) return
    last.index = index
    this.#places[index] = last
  }

  /** Yields items that are in the set now, and still are when their turn comes. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (const place of this.#places.slice()) if (place.index >= 0) yield place.item
  }
}
