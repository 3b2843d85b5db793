/** Redrives and drops that this console is running: progress, and by whom. */

import type { DeadLetterPlace, DeadLetterProgress } from '@concordat/cli'
import type { Clock } from 'concordat/core'

/** A running redrive. */
export interface UnderWayLine {
  readonly channel: string
  readonly group: string
  readonly action: 'redrive' | 'drop'
  readonly by: string
  /** Epoch ms. */
  readonly startedAt: number
  readonly sent: number
  readonly kept: number
  /** Number of letters processed, of those that existed at its start. */
  readonly done: number
  readonly of: number | undefined
}

export class RunningRedrives {
  readonly #clock: Clock
  readonly #lines = new Map<symbol, UnderWayLine>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get lines(): readonly UnderWayLine[] {
    return [...this.#lines.values()]
  }

  /** Shown until the work has ended. */
  async during<T>(
    { channel, group }: DeadLetterPlace,
    action: UnderWayLine['action'],
    by: string,
    work: (onProgress: (progress: DeadLetterProgress) => void) => Promise<T>,
  ): Promise<T> {
    const key = Symbol(action)
    const begun = { channel, group, action, by, startedAt: this.#clock.now() }
    this.#lines.set(key, { ...begun, sent: 0, kept: 0, done: 0, of: undefined })
    try {
      return await work(({ sent, kept, copies, of }) => {
        this.#lines.set(key, { ...begun, sent, kept, done: sent + kept + copies, of })
      })
    } finally {
      this.#lines.delete(key)
    }
  }
}
