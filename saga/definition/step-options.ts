/** Options of a saga and of steps of any kind: fixed by the types here, checked again in `definition-rules.ts` and `resolve-step-options.ts`. */
import type { BackoffOptions } from '../../core/backoff.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'

export interface RetryOptions extends BackoffOptions {
  /** Maximum number of calls of one operation, including the first. */
  readonly maxAttempts?: number | undefined
}

/** Options of a step that makes a call. */
export interface CallOptions {
  /**
   * Time limit of a local step's attempt, or of waiting for a command's reply. @default 30 seconds; 10 for `httpTarget` and
   * `localTarget`
   */
  readonly timeoutMs?: number | undefined
  /**
   * Retries. A command without a reply is sent again after `timeoutMs`, then after pauses that double up to 10 minutes, without
   * limit: an unavailable participant is not a failure. Limit the whole saga with `deadlineMs`. If you set `maxAttempts`, a call
   * without a reply counts as an attempt.
   * @default 3 attempts for a local step, 5 failures of a command, 10 for the pivot and after it; 1 s, doubled, at most 10 s
   */
  readonly retry?: RetryOptions | undefined
  /**
   * Same as `retry`, for the compensation. An unavailable participant is awaited here, too.
   * @default 10 attempts; 1 s, doubled, at most 10 s. After them the saga is `stuck`.
   */
  readonly compensationRetry?: RetryOptions | undefined
}

/** Option of a command before the pivot. */
export interface Undoable {
  /** True: undone by the same request with operation `compensate`. `'none'`: there is nothing to undo. */
  readonly compensate: true | 'none'
}

/** Option of the pivot, and of every step after it. */
export interface Forward {
  /** May be omitted: the steps from here on are not undone. */
  readonly compensate?: 'none' | undefined
}

/** Options of `defineSaga`. */
export interface SagaOptions<S extends StandardSchemaV1> {
  /** Version of the definition. Raise it whenever the steps change; existing sagas finish on the version they started with. */
  readonly version: number
  /** Schema of the input: any Standard Schema. Its input form is stored as JSON; steps receive its output form. */
  readonly input: S
  /**
   * Time limit for reaching the pivot, from the start of the saga. After it the saga is undone, with the failure `saga.deadline`.
   * A local call that runs at that moment finishes first. Measured by the database; may change freely between releases.
   * @default no deadline
   */
  readonly deadlineMs?: number | undefined
  /**
   * Converts an input that was stored before the schema required more, such as `(stored) => ({ currency: 'EUR', ...stored })`.
   * Called with the stored JSON, only when the schema refuses it. Must be pure. @default none
   */
  readonly upcast?: ((stored: never) => StandardSchemaV1.InferInput<S>) | undefined
}
