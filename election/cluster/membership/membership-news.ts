import { tell } from '../../../core/callbacks.ts'
import { toError } from '../../../core/errors.ts'
import type { PresenceEvent } from './membership.ts'
import type { ResolvedMembership } from './membership-options.ts'

/** What is told of a member's own way: to its subscribers, in the log, and in health while something does not work. */
export class PresenceNews {
  readonly #options: ResolvedMembership
  readonly #listeners = new Set<(event: PresenceEvent) => void>()
  #error: string | undefined

  constructor(options: ResolvedMembership) {
    this.#options = options
  }

  /** What does not work at the moment. */
  get error(): string | undefined {
    return this.#error
  }

  subscribe(listener: (event: PresenceEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(event: PresenceEvent): void {
    const { logger, cluster, instance } = this.#options
    logger.info({ cluster, instance, ...event }, `membership: ${event.type}`)
    for (const listener of this.#listeners) {
      tell(listener, event, (error) =>
        logger.error({ cluster, err: toError(error) }, 'membership: a subscriber failed'),
      )
    }
  }

  /** The first of a row is a warning. */
  warn(error: unknown, message: string): void {
    const { logger, cluster, instance } = this.#options
    const level = this.#error === undefined ? 'warn' : 'debug'
    logger[level]({ cluster, instance, err: error }, message)
    this.ended(error)
  }

  /** It stays so. */
  ended(error: unknown): void {
    this.#error = toError(error).message
  }

  /** It works again. */
  cleared(): void {
    this.#error = undefined
  }
}
