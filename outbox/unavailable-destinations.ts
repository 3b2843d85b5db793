/**
 * Destinations of one partition whose broker is unavailable. Their rows are left out of the windows, so that other destinations
 * continue; one row of each is retried from time to time, and the first success makes the destination available again.
 */
import { type Backoff, backoffDelayMs, resolveBackoff } from '../core/backoff.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'

/** Pause between two tries of one destination. */
const PAUSE: Backoff = resolveBackoff('relay', { initialMs: 100, maxMs: 5 * SECOND })
/** Added to the pause for each unavailable destination: at most 50 trials per second, however many there are. */
const PAUSE_EACH_MS = 20
/** Maximum number of destinations logged as warnings; with more, the broker itself is unavailable. */
const MOST_WARNINGS = 100

/** Outcome of a row of a destination: available again, still unavailable, or nothing left to retry. */
export type Trial = { readonly is: 'back' } | { readonly is: 'away'; readonly error: Error }

/** How a partition tries its destinations again. */
export interface AwayTrials {
  /** Aborts when no new trial may start: unavailable destinations stay unavailable. */
  readonly leaving: AbortSignal
  /** Publishes the next row of the destination. Rejects if the database does not respond. */
  try(destination: string): Promise<Trial>
  /** Called when a destination is available again, and when a trial has ended after `leaving`. */
  onBack(): void
}

export class UnavailableDestinations {
  readonly #partition: number
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #trials: AwayTrials
  readonly #away = new Map<string, Error | undefined>()
  readonly #open = new Set<Promise<void>>()

  constructor(
    partition: number,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    trials: AwayTrials,
  ) {
    this.#partition = partition
    this.#clock = clock
    this.#logger = logger
    this.#trials = trials
  }

  get names(): readonly string[] {
    return [...this.#away.keys()]
  }

  /** Why one of them is unavailable, if known. */
  get error(): Error | undefined {
    return [...this.#away.values()].find((error) => error !== undefined)
  }

  add(destination: string, error: Error): void {
    if (this.#away.has(destination)) return
    this.#away.set(destination, error)
    this.#warn(destination, error)
    this.#follow(this.#comeBack(destination))
  }

  /** A call without a response is the first trial of its destination. */
  addUnanswered(destination: string, answered: Promise<Trial>): void {
    this.#away.set(destination, undefined)
    this.#follow(this.#answer(destination, answered))
  }

  get isTrying(): boolean {
    return this.#open.size > 0
  }

  /** Resolves when no trial is in progress. */
  async ended(): Promise<void> {
    await Promise.all(this.#open)
  }

  #follow(work: Promise<void>): void {
    const trial = work.finally(() => {
      this.#open.delete(trial)
      if (this.#trials.leaving.aborted) this.#trials.onBack()
    })
    this.#open.add(trial)
  }

  #warn(destination: string, error: Error): void {
    const level = this.#away.size <= MOST_WARNINGS ? 'warn' : 'debug'
    this.#logger[level](
      { err: error, destination, partition: this.#partition },
      'outbox destination is away, its messages wait',
    )
  }

  async #answer(destination: string, answered: Promise<Trial>): Promise<void> {
    const trial = await outcomeOf(answered)
    if (trial.is === 'back') return this.#back(destination)
    this.#away.set(destination, trial.error)
    this.#warn(destination, trial.error)
    await this.#comeBack(destination)
  }

  async #comeBack(destination: string): Promise<void> {
    const { leaving } = this.#trials
    const partition = this.#partition
    for (let tries = 1; !leaving.aborted; tries++) {
      const pauseMs = backoffDelayMs(PAUSE, tries, Math.random()) + this.#away.size * PAUSE_EACH_MS
      await this.#clock.sleep(pauseMs, leaving).catch(() => undefined)
      if (leaving.aborted) return
      const trial = await outcomeOf(this.#trials.try(destination))
      if (trial.is === 'back') {
        this.#logger.info({ destination, partition, tries }, 'outbox destination is back')
        return this.#back(destination)
      }
      this.#away.set(destination, trial.error)
      this.#logger.debug({ err: trial.error, destination, partition, tries }, 'outbox destination is still away')
    }
  }

  #back(destination: string): void {
    // The next relay sends the rest: another call without a response would keep it from claiming the partition.
    if (this.#trials.leaving.aborted) return
    this.#away.delete(destination)
    this.#trials.onBack()
  }
}

/** If the database does not respond, the destination stays unavailable. */
function outcomeOf(trial: Promise<Trial>): Promise<Trial> {
  return trial.catch((error: Error) => ({ is: 'away', error }))
}
