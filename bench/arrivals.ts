/** Counts deliveries; `rate` is taken from the first to the last, so that joining a group does not count. */
export class Arrivals {
  readonly #expected: number
  readonly #all: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  #count = 0
  #firstAt = 0
  #lastAt = 0

  constructor(expected: number) {
    this.#expected = expected
  }

  note(): void {
    if (this.#count === 0) this.#firstAt = performance.now()
    if (++this.#count < this.#expected) return
    this.#lastAt = performance.now()
    this.#all.resolve()
  }

  async measured(): Promise<{ readonly units: number; readonly ms: number }> {
    await this.#all.promise
    return { units: this.#expected - 1, ms: this.#lastAt - this.#firstAt }
  }
}
