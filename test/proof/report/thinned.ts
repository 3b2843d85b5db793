/** Of however many values at most so many, evenly spread; nothing else is kept. */
export class Thinned<Value> {
  readonly #most: number
  #kept: Value[] = []
  #every = 1
  #seen = 0

  constructor(most: number) {
    this.#most = most
  }

  add(value: Value): void {
    if (this.#seen++ % this.#every !== 0) return
    this.#kept.push(value)
    if (this.#kept.length <= this.#most) return
    this.#kept = this.#kept.filter((_, index) => index % 2 === 0)
    this.#every *= 2
  }

  get values(): readonly Value[] {
    return this.#kept
  }
}
