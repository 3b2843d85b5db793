/** Options of a saga and of steps of any kind: fixed by the types here, checked again in `definition-rules.ts` and `resolve-step-options.ts`. */
import type { BackoffOptions } from '../../core/backoff.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'

export interface RetryOptions extends BackoffOptions {
  /** Calls of one operation, the first included. */
  readonly maxAttempts?: number | undefined
}

/** Options of a step that calls something. */
export interface CallOptions {
  /** Time limit of an attempt: of a local step, or for a command's reply. @default 30 seconds; 10 for `httpTarget` and `localTarget` */
  readonly timeoutMs?: number | undefined
  /**
   * A command without an answer is sent again after `timeoutMs`, then after pauses that double up to 10 minutes, without end: an unavailable
   * participant is no failure. Limit the whole saga with `deadlineMs`. With a `maxAttempts` of your own a call without an answer counts as an
   * attempt.
   * @default 3 attempts for a local step, 5 failures of a command, 10 for the pivot and after it; 1 s, doubled, at most 10 s
   */
  readonly retry?: RetryOptions | undefined
  /**
   * As `retry`; a participant that is away is waited for here, too.
   * @default 10 attempts; 1 s, doubled, at most 10 s. After them the saga is `stuck`.
   */
  readonly compensationRetry?: RetryOptions | undefined
}

/** Option of a command before the pivot. */
export interface Undoable {
  /** True: the same request is sent with operation `compensate` to undo it. `'none'`: there is nothing to undo. */
  readonly compensate: true | 'none'
}

/** Option of the pivot, and of every step after it. */
export interface Forward {
  /** May be left out: there is only forward from here. */
  readonly compensate?: 'none' | undefined
}

/** Options of `defineSaga`. */
export interface SagaOptions<S extends StandardSchemaV1> {
  /** Raise it whenever the steps change; instances finish on the version they began with. */
  readonly version: number
  /** Any Standard Schema. The input form is stored as JSON; steps get the output form. */
  readonly input: S
  /**
   * How long after its start a saga may still be on its way to the pivot: then it turns back, with `saga.deadline` as its
   * failure. A local call that runs at that moment is let finish first. Counted by the database; may change freely.
   * @default no deadline
   */
  readonly deadlineMs?: number | undefined
  /**
   * Makes an input that was stored before the schema wanted more fit it again: `(stored) => ({ currency: 'EUR', ...stored })`.
   * Called with the stored JSON, only where the schema refuses that. Pure. @default none
   */
  readonly upcast?: ((stored: never) => StandardSchemaV1.InferInput<S>) | undefined
}
