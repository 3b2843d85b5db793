import { toError } from '../../../core/errors.ts'
import { tell } from '../../../core/unawaited-callbacks.ts'
import type { PresenceEvent } from './membership.ts'
import type { ResolvedMembership } from './membership-options.ts'

/** Reports changes of this instance's membership to subscribers, to the log, and, while a problem lasts, in health. */
export class OwnPresenceEvents {
  readonly #options: ResolvedMembership
  readonly #listeners = new Set<(event: PresenceEvent) => void>()
  #error: string | undefined

  constructor(options: ResolvedMembership) {
    this.#options = options
  }

  /** The current problem. */
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

  /** Logs the first consecutive failure as a warning. */
  warn(error: unknown, message: string): void {
    const { logger, cluster, instance } = this.#options
    const level = this.#error === undefined ? 'warn' : 'debug'
    logger[level]({ cluster, instance, err: error }, message)
    this.ended(error)
  }

  /** Records a permanent problem. */
  ended(error: unknown): void {
    this.#error = toError(error).message
  }

  /** Records that the problem has ended. */
  cleared(): void {
    this.#error = undefined
  }
}
