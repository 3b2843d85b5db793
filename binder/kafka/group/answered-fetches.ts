/** Fetches of an assignment so far: which partitions answered, and where each last began. */
export class AnsweredFetches {
  /** Partitions whose first fetch was not answered yet. */
  readonly #unheard = new Set<number>()
  readonly #from = new Map<number, number>()
  readonly #heard = Promise.withResolvers<void>()

  /** Resolves when each partition of an assignment was heard of, or at `stop`. */
  get heard(): Promise<void> {
    return this.#heard.promise
  }

  /** A new assignment: nothing was heard of it. */
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

  /** Where the last fetch of it began; `undefined` before the first in this assignment. */
  startOf(partition: number): number | undefined {
    return this.#from.get(partition)
  }

  stop(): void {
    this.#heard.resolve()
  }
}
