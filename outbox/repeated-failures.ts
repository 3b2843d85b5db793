/** Messages that the broker refuses repeatedly: the relay continues, and other messages of their keys wait. */
import { type Clock, SECOND } from '../core/clock.ts'
import { RecentFailures } from '../core/recent-failures.ts'
import type { WindowResult } from './publish-window.ts'

/** Number of failures after which it is not a coincidence. */
const OFTEN = 3
/** Added to the longest pause: the next attempt is due by then, unless another relay makes it or the message was dropped. */
const GRACE_MS = 10 * SECOND
const MOST = 1_000

export class RepeatedFailures {
  /** The last failure by message id. */
  readonly #lasting: RecentFailures<string>

  /** @param longestPauseMs maximum pause between two attempts */
  constructor(clock: Clock, longestPauseMs: number) {
    this.#lasting = new RecentFailures(clock, longestPauseMs + GRACE_MS, MOST)
  }

  settled({ confirmed, failed }: Pick<WindowResult, 'confirmed' | 'failed'>): void {
    for (const { message } of confirmed) this.#lasting.succeeded(message.id)
    for (const { row, error } of failed) {
      const attempts = row.attempts + 1
      if (attempts < OFTEN) continue
      const detail = `publishing to ${row.message.destination} failed ${attempts} times: ${error.message}`
      this.#lasting.failed(row.message.id, detail)
    }
  }

  /** Last error of a message that fails repeatedly; `undefined` without such a message. */
  get lasting(): string | undefined {
    return this.#lasting.latest()?.failure
  }
}
