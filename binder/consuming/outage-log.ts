import { hasCode } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { TransportErrorKind } from '../errors.ts'

const LOST: ReadonlySet<unknown> = new Set<TransportErrorKind>(['unavailable', 'timeout'])

/**
 * Logs bindings without a subscription. An unavailable broker is one line with its reason, however many bindings there are and
 * however often they try; anything else is one line per binding and reason. The rest is `debug`.
 */
export class OutageLog {
  readonly #logger: Logger
  /** Bindings that wait for the broker. */
  readonly #waiting = new Set<string>()
  /** Last logged reason of each binding. */
  readonly #said = new Map<string, string>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Records that the binding has lost its subscription, or cannot get one. */
  away(binding: string, error: Error): void {
    const isFirst =
      hasCode(error, 'binder.transport') && LOST.has((error as { kind?: unknown }).kind)
        ? this.#isFirstLoss(binding)
        : this.#isNews(binding, error.message)
    const fields = { err: error, binding }
    if (isFirst) this.#logger.warn(fields, 'binding has no subscription, connecting')
    else this.#logger.debug(fields, 'binding still has no subscription, connecting')
  }

  /** Records that the binding has a subscription again, or no longer needs one. */
  over(binding: string): void {
    this.#waiting.delete(binding)
    this.#said.delete(binding)
  }

  #isFirstLoss(binding: string): boolean {
    const isFirst = this.#waiting.size === 0
    this.#waiting.add(binding)
    return isFirst
  }

  #isNews(binding: string, message: string): boolean {
    const isNews = this.#said.get(binding) !== message
    this.#said.set(binding, message)
    return isNews
  }
}
