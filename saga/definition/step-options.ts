/** What the functions of a step get, and what a step may say: fixed by the types here, checked again in `resolve.ts`. */
import type { Channel } from '../../binder/channel/channel.ts'
import type { BackoffOptions } from '../../core/backoff.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { Stored } from '../json.ts'
import type { CompensationContext, RequestContext, StepContext, WithTransaction } from './contexts.ts'
import type { Saga } from './saga.ts'

type Tx<T> = T extends true ? WithTransaction : unknown

export interface RetryOptions extends BackoffOptions {
  /** Calls of one operation, the first included. */
  readonly maxAttempts?: number | undefined
}

interface CommonOptions {
  /** Of one attempt: of a local step, or until the reply of a command comes. @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /**
   * A command that nobody answers is sent again after `timeoutMs`, then after pauses that double up to 10 minutes, without
   * end: a participant that is away is no failure. Limit the whole saga with `deadlineMs`. With a `maxAttempts` of your own
   * a call without an answer counts as an attempt.
   * @default 3 attempts for a local step, 5 failures of a command, 10 for the pivot and after it; 1 s, doubled, at most 10 s
   */
  readonly retry?: RetryOptions | undefined
  /**
   * As `retry`; a participant that is away is waited for here, too.
   * @default 10 attempts; 1 s, doubled, at most 10 s. After them the saga is `stuck`.
   */
  readonly compensationRetry?: RetryOptions | undefined
}

interface Invoke<Input, Results extends object, Result, T> extends CommonOptions {
  /**
   * True: `invoke` and `compensate` get `tx`, and whatever they write through it commits together with the saga's
   * advance: exactly once. Have no other effect in them. False: called at least once; deduplicate by `key`.
   * @default false
   */
  readonly transactional?: T
  /** Runs in the coordinator's process. Throw a `Refusal` to say no; an error with `retryable: false` to give up. */
  readonly invoke: (context: StepContext<Input, Results> & Tx<T>) => Result | Promise<Result>
}

export interface StepOptions<Input, Results extends object, Result, T> extends Invoke<Input, Results, Result, T> {
  /**
   * Undoes `invoke`; `'none'` says that there is nothing to undo. It is also called when the outcome of `invoke` is
   * unknown, so it must accept that nothing ever happened, and be repeatable.
   */
  readonly compensate:
    | ((context: CompensationContext<Input, Results, Stored<Result>> & Tx<T>) => void | Promise<void>)
    | 'none'
  readonly pivot?: false | undefined
}

/** The pivot, and every step after it: nothing to undo. */
export interface ForwardStepOptions<Input, Results extends object, Result, T>
  extends Invoke<Input, Results, Result, T> {
  readonly compensate?: 'none' | undefined
}

interface Request<Input, Results extends object, ToIn, Reply extends StandardSchemaV1> extends CommonOptions {
  /** The participant's command channel. */
  readonly to: Channel<ToIn, unknown>
  /** The command's payload. Pure: called again for each resend and for the compensation. */
  readonly request: (context: RequestContext<Input, Results>) => ToIn
  /** Schema of the reply's result. @default any JSON, typed `unknown` */
  readonly reply?: Reply | undefined
}

export interface CommandOptions<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends Request<Input, Results, ToIn, Reply> {
  /** True: the same request is sent with operation `compensate` to undo it. `'none'`: there is nothing to undo. */
  readonly compensate: true | 'none'
  readonly pivot?: false | undefined
}

export interface ForwardCommandOptions<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends Request<Input, Results, ToIn, Reply> {
  readonly compensate?: 'none' | undefined
}

export interface TimerOptions<Input, Results extends object> {
  /**
   * How long to wait: milliseconds, or a moment. Computed once, when the step begins; kept over restarts.
   * A moment in the past, or less than 0 ms, is now.
   */
  readonly delay: number | ((context: RequestContext<Input, Results>) => number | Date)
}

/** A signal sent with `coordinator.signal`. */
export interface SignalOptions<Payload extends StandardSchemaV1> {
  /** What it carries; stored in its input form, as JSON. */
  readonly payload: Payload
  /** The saga turns back when it has not come by then (after the pivot: is `stuck`). @default waits forever */
  readonly timeoutMs?: number | undefined
}

/** A message of a channel is the signal. */
export interface MessageSignalOptions<In, Out> {
  readonly from: Channel<In, Out>
  /** The id of the saga that the message is for; `undefined`: of none. */
  readonly correlate: (payload: Out) => string | undefined
  /** As in `SignalOptions`. */
  readonly timeoutMs?: number | undefined
}

interface SubSaga<Input, Results extends object, ChildIn, ChildResults extends object> {
  /** It is driven by the same coordinator; it need not be in its `sagas`. */
  readonly saga: Saga<ChildIn, unknown, ChildResults>
  /** Pure: called again when the call is repeated. */
  readonly input: (context: RequestContext<Input, Results>) => ChildIn
}

export interface SubSagaOptions<Input, Results extends object, ChildIn, ChildResults extends object>
  extends SubSaga<Input, Results, ChildIn, ChildResults> {
  /**
   * True: when this saga turns back, that one is undone, also if it has completed; it must have no pivot. `'none'`: it is
   * left as it is.
   */
  readonly compensate: true | 'none'
}

export interface ForwardSubSagaOptions<Input, Results extends object, ChildIn, ChildResults extends object>
  extends SubSaga<Input, Results, ChildIn, ChildResults> {
  readonly compensate?: 'none' | undefined
}

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
