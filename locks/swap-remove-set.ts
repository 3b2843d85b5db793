/** An item and where it lies; -1 when it was taken out. */
export interface Slot<T> {
  readonly item: T
  index: number
}

/**
 * What is there at the moment, in no order, for things that come and go quickly. A `Set` would do, but each time it makes
 * room it leaves a table behind that still points to all it held, and keeps them from being collected young: that made
 * collecting garbage a quarter of the cost of a lock.
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

  /** The last one takes its place. Does nothing when it was taken out before. */
  remove(place: Slot<T>): void {
    const { index } = place
    if (index < 0) return
    place.index = -1
    const last = this.#places.pop()
    if (last === undefined || last === place) return
    last.index = index
    this.#places[index] = last
  }

  /** Items that are in the bag now, and still are when their turn comes. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (const place of this.#places.slice()) if (place.index >= 0) yield place.item
  }
}
