import type { Clock } from '../../../core/clock.ts'
import type { Logger } from '../../../core/logger.ts'

/** Commits positions by partition, once. Rejects with what the broker said. */
export type CommitCall = (positions: ReadonlyMap<number, number>) => Promise<void>

export interface CommitsFields {
  readonly topic: string
  readonly clock: Clock
  /** How long positions are gathered. */
  readonly intervalMs: number
  readonly logger: Logger
  /** Called with what the group has committed, unless it was forgotten meanwhile. */
  readonly onCommitted?: ((positions: ReadonlyMap<number, number>) => void) | undefined
}

/**
 * Writes positions to the group, gathered over an interval, one commit at a time. A commit that fails is tried again
 * with the next; the broker refuses those of a member that it has expelled.
 */
export class Commits {
  readonly #topic: string
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #logger: Logger
  readonly #onCommitted: (positions: ReadonlyMap<number, number>) => void
  readonly #dirty = new Map<number, number>()
  #call: CommitCall | undefined
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> | undefined
  #generation = 0

  constructor({ topic, clock, intervalMs, logger, onCommitted = () => {} }: CommitsFields) {
    this.#topic = topic
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#logger = logger
    this.#onCommitted = onCommitted
  }

  /** How to commit, as of the newest batch. */
  use(call: CommitCall): void {
    this.#call = call
  }

  /** Everything below `position` is finished. */
  mark(partition: number, position: number): void {
    this.#dirty.set(partition, position)
    this.#schedule()
  }

  /** Commits what is marked. @throws what the broker said; the positions stay marked */
  async flush(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => {})
    if (this.#dirty.size === 0 || this.#call === undefined) return
    this.#running = this.#commit(this.#call)
    try {
      await this.#running
    } finally {
      this.#running = undefined
    }
  }

  /** Forgets everything: the partitions are no longer ours. */
  reset(): void {
    this.#generation++
    this.#dirty.clear()
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  async #commit(call: CommitCall): Promise<void> {
    const positions = new Map(this.#dirty)
    const generation = this.#generation
    this.#dirty.clear()
    try {
      await call(positions)
      if (generation === this.#generation) this.#onCommitted(positions)
    } catch (error) {
      if (generation === this.#generation) this.#putBack(positions)
      throw error
    }
  }

  #putBack(positions: ReadonlyMap<number, number>): void {
    for (const [partition, position] of positions) if (!this.#dirty.has(partition)) this.#dirty.set(partition, position)
  }

  #schedule(): void {
    this.#cancelTimer ??= this.#clock.setTimer(this.#intervalMs, () => {
      this.#cancelTimer = undefined
      this.flush().catch((error: unknown) => {
        this.#logger.debug({ topic: this.#topic, error }, 'offset commit failed, trying again')
        if (this.#dirty.size > 0) this.#schedule()
      })
    })
  }
}
