/** Reads the letters of one group one after the other: two readers of a queue would each get half of it, and wait. */
import { Problem } from './problem.ts'

const MAX_WAITING = 5

export class DeadLetterReadQueue {
  readonly #last = new Map<string, Promise<unknown>>()
  readonly #waiting = new Map<string, number>()

  /** @throws Problem 429 if too many wait for the same key */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(key) ?? 0
    if (waiting > MAX_WAITING) throw new Problem(429, 'console.too_many', `${waiting} others look there already: wait`)
    this.#waiting.set(key, waiting + 1)
    const before = this.#last.get(key) ?? Promise.resolve()
    const own = before.catch(() => {}).then(work)
    this.#last.set(key, own)
    try {
      return await own
    } finally {
      const left = (this.#waiting.get(key) ?? 1) - 1
      if (left > 0) this.#waiting.set(key, left)
      else {
        this.#waiting.delete(key)
        this.#last.delete(key)
      }
    }
  }
}

/** Turns of all consoles of this process. */
export const LOOKS = new DeadLetterReadQueue()
