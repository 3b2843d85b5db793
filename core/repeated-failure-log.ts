import type { Logger } from './logger.ts'

/**
 * Logs failures of an operation that is retried: the first failure as a warning with the reason, the following ones as `debug`,
 * until it has succeeded once.
 */
export class RepeatedFailureLog {
  readonly #logger: Logger
  readonly #message: string
  readonly #again: string | undefined
  #isTold = false

  /** @param again text logged at `info` when it succeeds again; without it, nothing is logged then */
  constructor(logger: Logger, message: string, again?: string) {
    this.#logger = logger
    this.#message = message
    this.#again = again
  }

  failed(error: unknown, fields: Readonly<Record<string, unknown>> = {}): void {
    const level = this.#isTold ? 'debug' : 'warn'
    this.#isTold = true
    this.#logger[level]({ ...fields, err: error }, this.#message)
  }

  over(): void {
    if (this.#isTold && this.#again !== undefined) this.#logger.info({}, this.#again)
    this.#isTold = false
  }
}
