/** Random numbers that depend only on the seed: all choices, orders and durations of a run are drawn from them. */
export class Random {
  #state: number

  constructor(seed: string) {
    let hash = 0x811c_9dc5
    for (let index = 0; index < seed.length; index += 1) hash = Math.imul(hash ^ seed.charCodeAt(index), 0x0100_0193)
    this.#state = hash >>> 0
  }

  /** 0 <= x < 1 @see https://gist.github.com/tommyettinger/46a874533244883189143505d203312c "mulberry32" */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.between(0, from.length - 1)]
    if (picked === undefined) throw new RangeError('nothing to pick from')
    return picked
  }

  shuffled<T>(all: readonly T[]): T[] {
    const result = [...all]
    for (let index = result.length - 1; index > 0; index -= 1) {
      const other = this.between(0, index)
      ;[result[index], result[other]] = [result[other] as T, result[index] as T]
    }
    return result
  }
}
