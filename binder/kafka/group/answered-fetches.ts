/** Fetches of an assignment: partitions that have answered, and the start of each last fetch. */
export class AnsweredFetches {
  /** Partitions whose first fetch has no answer yet. */
  readonly #unheard = new Set<number>()
  readonly #from = new Map<number, number>()
  readonly #heard = Promise.withResolvers<void>()

  /** Resolves when each partition of an assignment has answered, or at `stop`. */
  get heard(): Promise<void> {
    return this.#heard.promise
  }

  /** Starts a new assignment without answers. */
  begin(partitions: readonly number[]): void {
    this.#unheard.clear()
    this.#from.clear()
    for (const partition of partitions) this.#unheard.add(partition)
    if (partitions.length === 0) this.#heard.resolve()
  }

  answered(partition: number, offset: number): void {
    this.#from.set(partition, offset)
    if (this.#unheard.delete(partition) && this.#unheard.size === 0) this.#heard.resolve()
  }

  /** Returns the start of its last fetch; `undefined` before the first one in this assignment. */
  startOf(partition: number): number | undefined {
    return this.#from.get(partition)
  }

  stop(): void {
    this.#heard.resolve()
  }
}
