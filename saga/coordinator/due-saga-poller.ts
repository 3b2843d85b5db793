/**
 * Polls for due sagas: late replies, finished pauses, leases of dead coordinators. It sleeps until the next saga is due, for at
 * most `pollMs`; a write that makes a saga due earlier wakes it.
 */

import { lastingContext } from '../../core/async-contexts.ts'
import { toError } from '../../core/errors.ts'
import { RepeatedFailureLog } from '../../core/repeated-failure-log.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Callbacks of the poller. */
export interface Sweeping {
  /** Takes and handles due sagas. True: there may be more, so it is called again at once. */
  sweep(): Promise<boolean>
  /** Returns in how many ms the next saga is due. */
  nextDueMs(): Promise<number | undefined>
}

export class DueSagaPoller {
  readonly #runtime: Pick<CoordinatorRuntime, 'clock' | 'logger' | 'pollMs'>
  readonly #sweeping: Sweeping
  readonly #trouble: RepeatedFailureLog
  #stopped = false
  #loop: Promise<void> | undefined
  #lastError: Error | undefined
  /** Monotonic ms of the earliest wake-up requested since the sweep began. */
  #wakeAt = Number.POSITIVE_INFINITY
  #wake: (() => void) | undefined

  constructor(runtime: Pick<CoordinatorRuntime, 'clock' | 'logger' | 'pollMs'>, sweeping: Sweeping) {
    this.#runtime = runtime
    this.#sweeping = sweeping
    this.#trouble = new RepeatedFailureLog(
      runtime.logger,
      'looking for due sagas failed',
      'looking for due sagas works again',
    )
  }

  /** Error of the last sweep, if it failed. */
  get lastError(): Error | undefined {
    return this.#lastError
  }

  get running(): boolean {
    return this.#loop !== undefined && !this.#stopped
  }

  start(): void {
    this.#loop ??= lastingContext()(() => this.#run())
  }

  /** Announces a saga that is due in `ms`. */
  nudge(ms: number): void {
    const at = this.#runtime.clock.monotonic() + ms
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    this.#wake?.()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    await this.#loop
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      let pauseMs = this.#runtime.pollMs
      this.#wakeAt = Number.POSITIVE_INFINITY
      try {
        const more = await this.#sweeping.sweep()
        if (!more) pauseMs = Math.min(pauseMs, (await this.#sweeping.nextDueMs()) ?? pauseMs)
        this.#lastError = undefined
        this.#trouble.over()
        if (more) continue
      } catch (error) {
        this.#lastError = toError(error)
        this.#trouble.failed(this.#lastError)
      }
      await this.#sleep(pauseMs)
    }
  }

  /** Sleeps for `pauseMs`, or until the earliest requested wake-up. */
  async #sleep(pauseMs: number): Promise<void> {
    const until = this.#runtime.clock.monotonic() + pauseMs
    while (!this.#stopped) {
      const left = Math.min(until, this.#wakeAt) - this.#runtime.clock.monotonic()
      if (left <= 0) return
      const stop = new AbortController()
      this.#wake = () => stop.abort()
      await this.#runtime.clock.sleep(Math.ceil(left), stop.signal).catch(() => {})
      this.#wake = undefined
    }
  }
}
