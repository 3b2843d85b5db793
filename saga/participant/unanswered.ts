/** Messages that a handler was called for without an answer: not every such call is counted as an attempt. */

/** As many as can be in hand, and more. */
const MOST = 10_000

/** By the ids of messages; the oldest is forgotten first. One that is answered is never asked about again: the barrier has its answer. */
export class Unanswered {
  readonly #ids = new Set<string>()

  has(id: string): boolean {
    return this.#ids.has(id)
  }

  add(id: string): void {
    this.#ids.delete(id)
    this.#ids.add(id)
    if (this.#ids.size > MOST) this.#ids.delete(this.#ids.values().next().value as string)
  }
}
