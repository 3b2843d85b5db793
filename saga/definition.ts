/**
 * Saga definitions: frozen data, importable and testable with no database. Each call of the builder gives a new, complete
 * definition, so there is no `build()`.
 *
 * What a step may say is fixed here and checked twice: by the types, and at construction (a `TypeError` that names the
 * path and the remedy), because the order of steps decides what can still be undone.
 */

import type { Channel } from '../binder/channel.ts'
import type { BackoffOptions } from '../core/backoff.ts'
import type { Logger } from '../core/logger.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { checkSagaName, checkStep, graphHash, requireVersion } from './graph.ts'
import type { Stored } from './json.ts'
import { type CommandDefinition, type LocalDefinition, resolveCommand, resolveLocal } from './resolve.ts'
import type { SagaFailure, SagaShape } from './state.ts'

/** A definition as the coordinator takes it. `Results` maps step names to what they returned. */
export interface Saga<In = unknown, Out = In, Results extends object = object> extends SagaShape {
  readonly name: string
  readonly version: number
  readonly input: StandardSchemaV1<In, Out>
  readonly steps: readonly StepDefinition[]
  /** Hash of the steps: their order, names, kinds and destinations. Timeouts and retries may change freely. */
  readonly graphHash: string
  /** Type only. */
  readonly results?: Results
}

export type StepDefinition = LocalDefinition | CommandDefinition

/** What every function of a step gets. */
export interface StepContext<Input = unknown, Results extends object = object> {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  /** `<saga>/<id>/<step>`: the same in every attempt and in the compensation. Give it to whatever deduplicates. */
  readonly key: string
  readonly input: Input
  /** Results of the steps before this one, as they come back from the database (JSON). */
  readonly results: Results
  /** From 1. A call cut short by the end of its process is made again under its number. */
  readonly attempt: number
  /** Aborts when the attempt's time is up, the lease is lost, or the coordinator closes: stop, the call is repeated. */
  readonly signal: AbortSignal
  readonly log: Logger
}

export interface CompensationContext<Input = unknown, Results extends object = object, Result = unknown>
  extends StepContext<Input, Results> {
  /** What `invoke` returned; `undefined` when its outcome is unknown: then it may never have happened. */
  readonly result: Result | undefined
  /** Why the saga turned back. */
  readonly failure: SagaFailure
}

/** The transaction of a `transactional` step: its effect and the saga's advance commit together. */
export interface WithTransaction {
  readonly tx: SqlTransaction
}

type Tx<T> = T extends true ? WithTransaction : unknown

export interface RetryOptions extends BackoffOptions {
  /** Calls of one operation, the first included. */
  readonly maxAttempts?: number | undefined
}

interface CommonOptions {
  /** @default 30 seconds */
  readonly timeoutMs?: number | undefined
  /** @default 3 attempts for a local step, 5 for a command, 10 for the pivot and after it; 1 s, doubled, at most 10 s */
  readonly retry?: RetryOptions | undefined
  /** @default 10 attempts; 1 s, doubled, at most 10 s. After them the saga is `stuck`. */
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

export interface RequestContext<Input = unknown, Results extends object = object> {
  readonly sagaId: string
  readonly key: string
  readonly input: Input
  readonly results: Results
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

/** The results with one more. */
export type WithResult<Results extends object, Name extends string, Result> = Results & {
  readonly [K in Name]: Result
}

type NewName<Results, Name extends string> = Name extends keyof Results ? never : Name
type Pivot = { readonly pivot: true }

/** A saga whose steps can still be undone. */
export interface SagaBuilder<In, Out, Results extends object> extends Saga<In, Out, Results> {
  /** Adds the pivot as a local step: once it is done there is only forward. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: ForwardStepOptions<Out, Results, Result, T> & Pivot,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  /** Adds a local step. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: StepOptions<Out, Results, Result, T>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  /** Adds the pivot as a command. Parked `stuck` when its outcome stays unknown. */
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: ForwardCommandOptions<Out, Results, ToIn, Reply> & Pivot,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>
  /** Adds a command to a participant in another service. */
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: CommandOptions<Out, Results, ToIn, Reply>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>
}

/** A saga past its pivot: each further step is repeated until it works, or parked `stuck`. */
export interface ForwardSagaBuilder<In, Out, Results extends object> extends Saga<In, Out, Results> {
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: ForwardStepOptions<Out, Results, Result, T>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: ForwardCommandOptions<Out, Results, ToIn, Reply>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>
}

export interface SagaOptions<S extends StandardSchemaV1> {
  /** Raise it whenever the steps change; instances finish on the version they began with. */
  readonly version: number
  /** Any Standard Schema. The input form is stored as JSON; steps get the output form. */
  readonly input: S
}

/**
 * Begins a definition; add steps with `.step` and `.command`.
 * @param name 1 to 100 characters of `A-Z a-z 0-9 . _ -`
 * @throws TypeError / RangeError naming the option
 */
export function defineSaga<S extends StandardSchemaV1>(
  name: string,
  options: SagaOptions<S>,
): SagaBuilder<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>, object> {
  checkSagaName(name)
  requireVersion(name, options)
  return builder(name, options, []) as unknown as ReturnType<typeof defineSaga<S>>
}

function builder(name: string, options: SagaOptions<StandardSchemaV1>, steps: readonly StepDefinition[]): object {
  const path = `defineSaga("${name}")`
  const add = (step: StepDefinition): object => {
    checkStep(path, steps, step)
    return builder(name, options, [...steps, step])
  }
  const pivoted = steps.some((step) => step.pivot)
  return Object.freeze({
    name,
    version: options.version,
    input: options.input,
    steps: Object.freeze(steps),
    graphHash: graphHash(name, options.version, steps),
    step: (step: string, stepOptions: never) => add(resolveLocal(`${path}.step`, step, stepOptions, pivoted)),
    command: (step: string, stepOptions: never) => add(resolveCommand(`${path}.command`, step, stepOptions, pivoted)),
  })
}
