import { type Clock, SECOND } from '../../../core/clock.ts'
import { toError } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'

/** Commits positions by partition, once. Rejects with the broker's error. */
export type CommitCall = (positions: ReadonlyMap<number, number>) => Promise<void>

/** A coordinator that moves to another broker refuses commits for some seconds, which needs no report. */
const REFUSED_MS = 10 * SECOND

export interface CommitsFields {
  readonly topic: string
  readonly clock: Clock
  /** How long positions are collected. */
  readonly intervalMs: number
  readonly logger: Logger
  /** Called with the positions that the group has committed, unless they were forgotten meanwhile. */
  readonly onCommitted?: ((positions: ReadonlyMap<number, number>) => void) | undefined
  /** Called once when all commits of some seconds have failed, and with `undefined` when one succeeds again. */
  readonly onRefused?: ((error: Error | undefined) => void) | undefined
}

/**
 * Writes positions to the group, collected over an interval, one commit at a time. A failed commit is tried again with the next;
 * the broker refuses those of a member that it has expelled.
 */
export class Commits {
  readonly #topic: string
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #logger: Logger
  readonly #onCommitted: (positions: ReadonlyMap<number, number>) => void
  readonly #onRefused: (error: Error | undefined) => void
  readonly #dirty = new Map<number, number>()
  #call: CommitCall | undefined
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> | undefined
  #generation = 0
  /** Start of the first commit that has failed since the last success. */
  #refusedSince: number | undefined
  #isToldRefused = false

  constructor({ topic, clock, intervalMs, logger, onCommitted = () => {}, onRefused = () => {} }: CommitsFields) {
    this.#topic = topic
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#logger = logger
    this.#onCommitted = onCommitted
    this.#onRefused = onRefused
  }

  /** Sets the commit function of the newest batch. */
  use(call: CommitCall): void {
    this.#call = call
  }

  /**
   * Records that everything below `position` is finished.
   * @param isDue true: the commit should not wait for the interval, unless the broker refuses commits
   */
  mark(partition: number, position: number, isDue = false): void {
    this.#dirty.set(partition, position)
    if (isDue && this.#running === undefined && this.#refusedSince === undefined) this.#tryFlush()
    else this.#schedule()
  }

  /** Commits the marked positions. @throws the broker's error; the positions stay marked */
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

  /** Forgets everything, because the partitions belong to another member. */
  reset(): void {
    this.#generation++
    this.#dirty.clear()
    this.#refusedSince = undefined
    this.#isToldRefused = false
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  async #commit(call: CommitCall): Promise<void> {
    const positions = new Map(this.#dirty)
    const generation = this.#generation
    const beganAt = this.#clock.monotonic()
    this.#dirty.clear()
    try {
      await call(positions)
      if (generation === this.#generation) this.#succeeded(positions)
    } catch (error) {
      if (generation === this.#generation) this.#failed(positions, beganAt, error)
      throw error
    }
  }

  #succeeded(positions: ReadonlyMap<number, number>): void {
    const wasTold = this.#isToldRefused
    this.#refusedSince = undefined
    this.#isToldRefused = false
    this.#onCommitted(positions)
    if (wasTold) this.#onRefused(undefined)
  }

  #failed(positions: ReadonlyMap<number, number>, beganAt: number, error: unknown): void {
    this.#putBack(positions)
    this.#refusedSince ??= beganAt
    if (this.#isToldRefused || this.#clock.monotonic() - this.#refusedSince < REFUSED_MS) return
    this.#isToldRefused = true
    this.#onRefused(toError(error))
  }

  #putBack(positions: ReadonlyMap<number, number>): void {
    for (const [partition, position] of positions) if (!this.#dirty.has(partition)) this.#dirty.set(partition, position)
  }

  #schedule(): void {
    this.#cancelTimer ??= this.#clock.setTimer(this.#intervalMs, () => this.#tryFlush())
  }

  #tryFlush(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.flush().catch((error: unknown) => {
      this.#logger.debug({ topic: this.#topic, error }, 'offset commit failed, trying again')
      if (this.#dirty.size > 0) this.#schedule()
    })
  }
}
