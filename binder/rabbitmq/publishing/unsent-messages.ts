import { Queue } from '../../../core/queue.ts'
import type { PublishEntry } from './publish-call.ts'

/** Messages to be written, in order. Skips those that were settled while they waited (their time was over). */
export class UnsentMessages {
  readonly #entries = new Queue<PublishEntry>()

  push(entries: readonly PublishEntry[]): void {
    for (const entry of entries) this.#entries.push(entry)
  }

  /** The next message, without removing it. */
  peek(): PublishEntry | undefined {
    for (;;) {
      const entry = this.#entries.peek()
      if (entry === undefined || !entry.settled) return entry
      this.#entries.shift()
    }
  }

  /** Removes the next message. */
  shift(): void {
    this.#entries.shift()
  }

  /** Inserts entries before the waiting ones, in the given order. */
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
