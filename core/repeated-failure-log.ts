import type { Logger } from './logger.ts'

/**
 * Something that is tried again and again: its first failure is a warning with the reason, those that follow are `debug`,
 * until it has worked once.
 */
export class RepeatedFailureLog {
  readonly #logger: Logger
  readonly #message: string
  readonly #again: string | undefined
  #isTold = false

  /** @param again said at `info` when it works again; nothing is said without it */
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
