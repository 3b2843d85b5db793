/** Keeps at most `most` evenly spread values of any number. */
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
