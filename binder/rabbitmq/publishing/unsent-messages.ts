import { Queue } from '../../../core/queue.ts'
import type { PublishEntry } from './publish-call.ts'

/** Messages to be written, in order. Skips those that were settled while they waited (their time ran out). */
export class UnsentMessages {
  readonly #entries = new Queue<PublishEntry>()

  push(entries: readonly PublishEntry[]): void {
    for (const entry of entries) this.#entries.push(entry)
  }

  /** The next one, which stays. */
  peek(): PublishEntry | undefined {
    for (;;) {
      const entry = this.#entries.peek()
      if (entry === undefined || !entry.settled) return entry
      this.#entries.shift()
    }
  }

  /** Takes the next one out. */
  shift(): void {
    this.#entries.shift()
  }

  /** Before everything that waits, in the order given. */
  putBack(entries: readonly PublishEntry[]): void {
    this.#entries.putBack(entries)
  }

  waiting(): readonly PublishEntry[] {
    return this.#entries.items()
  }

  clear(): void {
    this.#entries.drain()
  }
}
