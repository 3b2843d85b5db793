import { ConcordatError, show } from '../../core/errors.ts'

/**
 * A window cannot take a message, because its key, or the result of `add`, cannot be stored. The message is dead-lettered at
 * once.
 */
export class WindowInvalid extends ConcordatError {
  readonly code = 'pipeline.window_invalid' as const
  readonly retryable = false as const
  readonly pipeline: string
  readonly window: string

  constructor(
    pipeline: string,
    window: string,
    what: { readonly path: string; readonly value: unknown },
    expected: string,
  ) {
    super(`window "${window}" of pipeline "${pipeline}": ${what.path}: expected ${expected}, got ${show(what.value)}`)
    this.pipeline = pipeline
    this.window = window
  }
}
