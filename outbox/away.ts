/**
 * Destinations of one partition whose broker is away. Their rows stay out of the windows, so that they hold up nobody; one
 * row of each is tried now and then, and the first that gets through brings its destination back.
 */
import { type Backoff, backoffDelayMs, resolveBackoff } from '../core/backoff.ts'
import { type Clock, SECOND } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'

/** Between two tries of one destination. */
const PAUSE: Backoff = resolveBackoff('relay', { initialMs: 100, maxMs: 5 * SECOND })
/** With more of them it is the broker of all: the whole partition waits. */
const MAX_AWAY = 100

/** What came of one row of a destination: it is back, it is still away, or nothing is left to be tried. */
export type Trial = { readonly is: 'back' } | { readonly is: 'away'; readonly error: Error }

export interface AwayHost {
  readonly partition: number
  readonly clock: Clock
  readonly logger: Logger
  readonly stopping: AbortSignal
  /** Publishes the next row of the destination. Rejects when the database does not answer. */
  try(destination: string): Promise<Trial>
  /** There is something to be fetched again. */
  onBack(): void
}

export class AwayDestinations {
  readonly #host: AwayHost
  readonly #away = new Map<string, Error | undefined>()
  readonly #trials = new Set<Promise<void>>()

  constructor(host: AwayHost) {
    this.#host = host
  }

  get names(): readonly string[] {
    return [...this.#away.keys()]
  }

  /** Why one of them is away, when it has said so. */
  get error(): Error | undefined {
    return [...this.#away.values()].find((error) => error !== undefined)
  }

  /** False: there are too many already. */
  add(destination: string, error: Error): boolean {
    if (this.#away.has(destination)) return true
    if (this.#away.size >= MAX_AWAY) return false
    this.#away.set(destination, error)
    this.#warn(destination, error)
    this.#follow(this.#comeBack(destination))
    return true
  }

  /**
   * A call that has no answer yet is the first trial of its destination.
   * @param answered begins with the trial; is not called when there are too many already
   * @returns false: there are too many already
   */
  addUnanswered(destination: string, answered: () => Promise<Trial>): boolean {
    if (this.#away.size >= MAX_AWAY) return false
    this.#away.set(destination, undefined)
    this.#follow(this.#answer(destination, answered()))
    return true
  }

  /** Resolves when no trial is under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#trials)
  }

  #follow(work: Promise<void>): void {
    const trial = work.finally(() => this.#trials.delete(trial))
    this.#trials.add(trial)
  }

  #warn(destination: string, error: Error): void {
    const { logger, partition } = this.#host
    logger.warn({ err: error, destination, partition }, 'outbox destination is away, its messages wait')
  }

  async #answer(destination: string, answered: Promise<Trial>): Promise<void> {
    const trial = await outcomeOf(answered)
    if (trial.is === 'back') return this.#back(destination)
    this.#away.set(destination, trial.error)
    this.#warn(destination, trial.error)
    await this.#comeBack(destination)
  }

  async #comeBack(destination: string): Promise<void> {
    const { clock, logger, partition, stopping } = this.#host
    for (let tries = 1; !stopping.aborted; tries++) {
      await clock.sleep(backoffDelayMs(PAUSE, tries, Math.random()), stopping).catch(() => undefined)
      if (stopping.aborted) return
      const trial = await outcomeOf(this.#host.try(destination))
      if (trial.is === 'back') {
        logger.info({ destination, partition, tries }, 'outbox destination is back')
        return this.#back(destination)
      }
      this.#away.set(destination, trial.error)
      logger.debug({ err: trial.error, destination, partition, tries }, 'outbox destination is still away')
    }
  }

  #back(destination: string): void {
    this.#away.delete(destination)
    this.#host.onBack()
  }
}

/** A database that does not answer leaves its destination away. */
function outcomeOf(trial: Promise<Trial>): Promise<Trial> {
  return trial.catch((error: Error) => ({ is: 'away', error }))
}
