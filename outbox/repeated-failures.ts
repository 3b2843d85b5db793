/** Messages that the broker refuses again and again: the relay goes on, and what has their keys waits. */
import { type Clock, SECOND } from '../core/clock.ts'
import type { WindowResult } from './publish-window.ts'

/** A message that fails so often does not fail by chance. */
const OFTEN = 3
/** Beyond the longest pause: the next attempt is due by then. */
const GRACE_MS = 10 * SECOND

export class RepeatedFailures {
  readonly #clock: Clock
  readonly #lastsMs: number
  /** By id of the message: when it failed last, and how. */
  readonly #lasting = new Map<string, { readonly at: number; readonly detail: string }>()

  /** @param longestPauseMs between two attempts of a message */
  constructor(clock: Clock, longestPauseMs: number) {
    this.#clock = clock
    this.#lastsMs = longestPauseMs + GRACE_MS
  }

  settled({ confirmed, failed }: Pick<WindowResult, 'confirmed' | 'failed'>): void {
    if (this.#lasting.size > 0) for (const { message } of confirmed) this.#lasting.delete(message.id)
    for (const { row, error } of failed) {
      const attempts = row.attempts + 1
      if (attempts < OFTEN) continue
      const detail = `publishing to ${row.message.destination} failed ${attempts} times: ${error.message}`
      this.#lasting.delete(row.message.id)
      this.#lasting.set(row.message.id, { at: this.#clock.monotonic(), detail })
    }
    this.#forget()
  }

  /** Last error of a message that fails repeatedly; `undefined` without one. */
  get lasting(): string | undefined {
    this.#forget()
    return [...this.#lasting.values()].at(-1)?.detail
  }

  /** Its next attempt did not come: another relay has it, or it was dropped. The oldest come first. */
  #forget(): void {
    const since = this.#clock.monotonic() - this.#lastsMs
    for (const [id, { at }] of this.#lasting) {
      if (at >= since && this.#lasting.size <= MOST) return
      this.#lasting.delete(id)
    }
  }
}

const MOST = 1_000
