import type { PublishEntry } from './publish-call.ts'

/** How many taken places are kept before the array is cut. */
const MOST_TAKEN = 4_096

/** Messages to be written, in order. Skips those that were settled while they waited (their time ran out). */
export class UnsentMessages {
  #entries: PublishEntry[] = []
  #head = 0

  push(entries: readonly PublishEntry[]): void {
    for (const entry of entries) this.#entries.push(entry)
  }

  /** The next one, which stays. */
  peek(): PublishEntry | undefined {
    for (;;) {
      const entry = this.#entries[this.#head]
      if (entry === undefined || !entry.settled) return entry
      this.shift()
    }
  }

  /** Takes the next one out. */
  shift(): void {
    this.#head++
    if (this.#head === this.#entries.length) this.clear()
    else if (this.#head > MOST_TAKEN && this.#head * 2 > this.#entries.length) this.#cut()
  }

  /** Before everything that waits, in the order given. */
  putBack(entries: readonly PublishEntry[]): void {
    this.#entries = [...entries, ...this.waiting()]
    this.#head = 0
  }

  waiting(): readonly PublishEntry[] {
    return this.#entries.slice(this.#head)
  }

  clear(): void {
    this.#entries = []
    this.#head = 0
  }

  #cut(): void {
    this.#entries = this.#entries.slice(this.#head)
    this.#head = 0
  }
}
