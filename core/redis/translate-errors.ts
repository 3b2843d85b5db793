import { toError } from '../errors.ts'
import { failureKind } from './classify-errors.ts'
import { redactCommandArguments } from './redact-command-arguments.ts'

/** Creates the errors of the folder that uses the connection. */
export interface RedisErrors {
  /** Not reached, not ready, or no reply. `unknown`: the command may have been executed, or may still be. */
  unavailable(outcome: 'not_done' | 'unknown', detail: string, cause: unknown): Error
  /** Redis replied, and would give the same reply again. */
  refused(cause: Error): Error
}

/** Translates the driver's errors into those of the folder that uses the connection. */
export class RedisErrorTranslator {
  readonly #errors: RedisErrors
  readonly #session: { readonly lastError: Error | undefined }

  /** @param session has the reason why there is no connection */
  constructor(errors: RedisErrors, session: { readonly lastError: Error | undefined }) {
    this.#errors = errors
    this.#session = session
  }

  translate(failure: unknown): Error {
    const error = redactCommandArguments(failure)
    const cause = toError(error)
    switch (failureKind(error)) {
      case 'retryable':
      case 'not_sent':
        return this.unavailable('not_done', cause.message, error)
      case 'no_answer':
        return this.unavailable('unknown', `no answer (${cause.message})`, error)
      case 'refused':
        return this.#errors.refused(cause)
    }
  }

  /** @param cause the error of the driver. @default the reason why there is no connection */
  unavailable(outcome: 'not_done' | 'unknown', detail: string, cause?: unknown): Error {
    const { lastError } = this.#session
    const text = cause === undefined && lastError !== undefined ? `${detail} (${lastError.message})` : detail
    return this.#errors.unavailable(outcome, text, cause ?? lastError)
  }
}
