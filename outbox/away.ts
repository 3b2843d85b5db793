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
  readonly #away = new Map<string, Error>()
  readonly #trials = new Set<Promise<void>>()

  constructor(host: AwayHost) {
    this.#host = host
  }

  get names(): readonly string[] {
    return [...this.#away.keys()]
  }

  /** Why one of them is away. */
  get error(): Error | undefined {
    return this.#away.values().next().value
  }

  /** False: there are too many already. */
  add(destination: string, error: Error): boolean {
    if (this.#away.has(destination)) return true
    if (this.#away.size >= MAX_AWAY) return false
    this.#away.set(destination, error)
    const { logger, partition } = this.#host
    logger.warn({ err: error, destination, partition }, 'outbox destination is away, its messages wait')
    const trial = this.#comeBack(destination).finally(() => this.#trials.delete(trial))
    this.#trials.add(trial)
    return true
  }

  /** Resolves when no trial is under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#trials)
  }

  async #comeBack(destination: string): Promise<void> {
    const { clock, logger, partition, stopping } = this.#host
    for (let tries = 1; !stopping.aborted; tries++) {
      await clock.sleep(backoffDelayMs(PAUSE, tries, Math.random()), stopping).catch(() => undefined)
      if (stopping.aborted) return
      const trial = await this.#host.try(destination).catch((error: Error) => ({ is: 'away' as const, error }))
      if (trial.is === 'back') {
        this.#away.delete(destination)
        logger.info({ destination, partition, tries }, 'outbox destination is back')
        return this.#host.onBack()
      }
      this.#away.set(destination, trial.error)
      logger.debug({ err: trial.error, destination, partition, tries }, 'outbox destination is still away')
    }
  }
}
