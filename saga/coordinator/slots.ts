/** Limits concurrency; further users wait in line. */
export class Slots {
  #free: number
  readonly #line: Array<() => void> = []

  constructor(count: number) {
    this.#free = count
  }

  async around<T>(work: () => Promise<T>): Promise<T> {
    await this.take()
    try {
      return await work()
    } finally {
      this.give()
    }
  }

  /** Waits for a slot. Its user calls `give` at the end. */
  async take(): Promise<void> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#line.push(resolve))
  }

  give(): void {
    const next = this.#line.shift()
    if (next === undefined) this.#free++
    else next()
  }

  /** Lets all users through from now on; they begin no work. */
  open(): void {
    this.#free = Number.POSITIVE_INFINITY
    for (const next of this.#line.splice(0)) next()
  }
}
