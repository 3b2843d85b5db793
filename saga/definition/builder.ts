/** Types of the builders: which steps each position allows, and which earlier results each step sees. */
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { Stored } from '../json.ts'
import type { CommandOptions, ForwardCommandOptions } from './kinds/command.ts'
import type {
  EachCommandOptions,
  EachSagaOptions,
  EachStepOptions,
  EachTccCommandOptions,
  EachTccStepOptions,
  ForwardEachCommandOptions,
  ForwardEachSagaOptions,
  ForwardEachStepOptions,
} from './kinds/each.ts'
import type { ForwardStepOptions, StepOptions } from './kinds/local.ts'
import type { MessageSignalOptions, SignalOptions } from './kinds/signal.ts'
import type { ForwardSubSagaOptions, SubSagaOptions } from './kinds/sub-saga.ts'
import type { TccCommandOptions, TccStepOptions } from './kinds/tcc.ts'
import type { TimerOptions } from './kinds/timer.ts'
import type { Saga } from './saga-definition-types.ts'
import type { RequestContext } from './step-contexts.ts'

/** Adds one result to the results. */
export type WithResult<Results extends object, Name extends string, Result> = Results & {
  readonly [K in Name]: Result
}

type NewName<Results, Name extends string> = Name extends keyof Results ? never : Name
type Pivot = { readonly pivot: true }

/** Condition of a step, with its context. */
type When<Out, Results extends object> = (context: RequestContext<Out, Results>) => boolean
/** Adds the results of steps that the saga may omit. */
type WithOptional<Results extends object, After extends object> = Results & Partial<Omit<After, keyof Results>>

/** Builder that a method returns, by the builder it is called on. `Known`: the results that the functions of a step see. */
interface Builders<In, Out, Known extends object, Results extends object> {
  readonly undoable: SagaBuilder<In, Out, Results>
  readonly forward: ForwardSagaBuilder<In, Out, Results>
  readonly group: SagaGroup<Out, Known, Results>
  readonly forwardGroup: ForwardSagaGroup<Out, Known, Results>
}

type Scope = keyof Builders<unknown, unknown, object, object>
/** Scopes in which no step can be the pivot, so that `step` and `command` have one form. */
type WithoutPivot = Exclude<Scope, 'undoable'>

interface AddsTimers<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Waits for a duration or a point in time. The wait is durable and uses no resources. */
  timer<Name extends string>(
    name: NewName<Results, Name>,
    options: TimerOptions<Out, Known>,
  ): Builders<In, Out, Known, WithResult<Results, Name, undefined>>[P]
}

interface AddsSignals<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Waits for `coordinator.signal`. A signal that arrives before the step begins is kept for it. */
  signal<Name extends string, Payload extends StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: SignalOptions<Payload>,
  ): Builders<In, Out, Known, WithResult<Results, Name, StandardSchemaV1.InferOutput<Payload>>>[P]
  /** Waits for a message of a channel. A message that arrives before the step begins is kept for it. */
  signal<Name extends string, FromIn, Payload>(
    name: NewName<Results, Name>,
    options: MessageSignalOptions<FromIn, Payload>,
  ): Builders<In, Out, Known, WithResult<Results, Name, Stored<Payload>>>[P]
}

interface SubSagaAt<Out, Known extends object, ChildIn, ChildResults extends object> {
  readonly undoable: SubSagaOptions<Out, Known, ChildIn, ChildResults>
  readonly forward: ForwardSubSagaOptions<Out, Known, ChildIn, ChildResults>
  readonly group: SubSagaOptions<Out, Known, ChildIn, ChildResults>
  readonly forwardGroup: ForwardSubSagaOptions<Out, Known, ChildIn, ChildResults>
}

interface AddsSagas<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Adds another saga as a step. The step is done when that saga completes, and refused when that saga is compensated. */
  saga<Name extends string, ChildIn, ChildResults extends object>(
    name: NewName<Results, Name>,
    options: SubSagaAt<Out, Known, ChildIn, ChildResults>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, Stored<ChildResults>>>[P]
}

interface LocalAt<Out, Known extends object, Result, T> {
  readonly forward: ForwardStepOptions<Out, Known, Result, T>
  readonly group: StepOptions<Out, Known, Result, T>
  readonly forwardGroup: ForwardStepOptions<Out, Known, Result, T>
}

interface AddsSteps<P extends WithoutPivot, In, Out, Known extends object, Results extends object> {
  /** Adds a local step. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: LocalAt<Out, Known, Result, T>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, Stored<Result>>>[P]
}

interface CommandAt<Out, Known extends object, ToIn, Reply extends StandardSchemaV1> {
  readonly forward: ForwardCommandOptions<Out, Known, ToIn, Reply>
  readonly group: CommandOptions<Out, Known, ToIn, Reply>
  readonly forwardGroup: ForwardCommandOptions<Out, Known, ToIn, Reply>
}

interface AddsCommands<P extends WithoutPivot, In, Out, Known extends object, Results extends object> {
  /** Adds a command to a participant in another service. */
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: CommandAt<Out, Known, ToIn, Reply>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>[P]
}

/** Scopes from which the saga can still be undone. */
type BeforePivot = Exclude<Scope, 'forward' | 'forwardGroup'>

interface EachStepAt<Out, Known extends object, Item, Result, T> {
  readonly undoable: EachStepOptions<Out, Known, Item, Result, T>
  readonly forward: ForwardEachStepOptions<Out, Known, Item, Result, T>
  readonly group: EachStepOptions<Out, Known, Item, Result, T>
  readonly forwardGroup: ForwardEachStepOptions<Out, Known, Item, Result, T>
}

interface EachCommandAt<Out, Known extends object, Item, ToIn, Reply extends StandardSchemaV1> {
  readonly undoable: EachCommandOptions<Out, Known, Item, ToIn, Reply>
  readonly forward: ForwardEachCommandOptions<Out, Known, Item, ToIn, Reply>
  readonly group: EachCommandOptions<Out, Known, Item, ToIn, Reply>
  readonly forwardGroup: ForwardEachCommandOptions<Out, Known, Item, ToIn, Reply>
}

interface EachSagaAt<Out, Known extends object, Item, ChildIn, ChildResults extends object> {
  readonly undoable: EachSagaOptions<Out, Known, Item, ChildIn, ChildResults>
  readonly forward: ForwardEachSagaOptions<Out, Known, Item, ChildIn, ChildResults>
  readonly group: EachSagaOptions<Out, Known, Item, ChildIn, ChildResults>
  readonly forwardGroup: ForwardEachSagaOptions<Out, Known, Item, ChildIn, ChildResults>
}

interface EachTccCommandAt<Out, Known extends object, Item, ToIn, Reply extends StandardSchemaV1> {
  readonly undoable: EachTccCommandOptions<Out, Known, Item, ToIn, Reply>
  readonly forward: never
  readonly group: EachTccCommandOptions<Out, Known, Item, ToIn, Reply>
  readonly forwardGroup: never
}

interface EachTccStepAt<Out, Known extends object, Item, Result> {
  readonly undoable: EachTccStepOptions<Out, Known, Item, Result>
  readonly forward: never
  readonly group: EachTccStepOptions<Out, Known, Item, Result>
  readonly forwardGroup: never
}

interface AddsLists<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Adds a command for each item of a list; the result is the list of their replies. */
  each<Name extends string, Item, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: EachCommandAt<Out, Known, Item, ToIn, Reply>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly StandardSchemaV1.InferOutput<Reply>[]>>[P]
  /** Adds a saga for each item of a list; the result is the list of their results. */
  each<Name extends string, Item, ChildIn, ChildResults extends object>(
    name: NewName<Results, Name>,
    options: EachSagaAt<Out, Known, Item, ChildIn, ChildResults>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly Stored<ChildResults>[]>>[P]
  /** Adds a reservation for each item of a list, before the pivot: all are confirmed when the saga is decided. */
  each<Name extends string, Item, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: EachTccCommandAt<Out, Known, Item, ToIn, Reply>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly StandardSchemaV1.InferOutput<Reply>[]>>[P]
  /** Adds a reservation for each item of a list, made in the coordinator's process. */
  each<Name extends string, Item, Result>(
    name: NewName<Results, Name>,
    options: EachTccStepAt<Out, Known, Item, Result>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly Stored<Result>[]>>[P]
  /** Adds a local step for each item of a list; the result is the list of their results. */
  each<Name extends string, Item, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: EachStepAt<Out, Known, Item, Result, T>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly Stored<Result>[]>>[P]
}

interface AddsTcc<P extends BeforePivot, In, Out, Known extends object, Results extends object> {
  /**
   * Adds a step that first reserves, in another service (`tccParticipant`). It is confirmed when the saga is decided, and
   * cancelled when the saga is undone.
   */
  tcc<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: TccCommandOptions<Out, Known, ToIn, Reply>,
  ): Builders<In, Out, Known, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>[P]
  /** Adds a step that first reserves, in the coordinator's process. */
  tcc<Name extends string, Result>(
    name: NewName<Results, Name>,
    options: TccStepOptions<Out, Known, Result>,
  ): Builders<In, Out, Known, WithResult<Results, Name, Stored<Result>>>[P]
}

/** Methods for steps that wait and steps that are sagas, the same in every scope. */
interface AddsOthers<P extends Scope, In, Out, Known extends object, Results extends object>
  extends AddsSagas<P, In, Out, Known, Results>,
    AddsLists<P, In, Out, Known, Results>,
    AddsTimers<P, In, Out, Known, Results>,
    AddsSignals<P, In, Out, Known, Results> {}

interface AddsBlocks<P extends 'undoable' | 'forward', In, Out, Results extends object> {
  /**
   * Adds steps that run only if `condition` holds when they are due; otherwise they are omitted, with nothing to undo and no
   * result. The condition must be pure. It is evaluated once, for the first of the steps. The pivot cannot be one of them.
   */
  when<After extends Results>(
    condition: When<Out, Results>,
    steps: (saga: Builders<In, Out, Results, Results>[P]) => Builders<In, Out, Results, After>[P],
  ): Builders<In, Out, Results, WithOptional<Results, After>>[P]
  /**
   * Adds steps in several branches, of which one runs: `choose('route', ({ input }) => input.far ? 'air' : 'road', { air: (saga)
   * => ..., road: (saga) => ... })`. The choice is made once, when it is due, and stored; the result of `name` is the branch. The
   * steps of the other branches are omitted. A branch may have no steps: `(saga) => saga`. The pivot cannot be in a branch.
   */
  choose<Name extends string, Blocks extends Branches<P, In, Out, WithResult<Results, Name, string>>>(
    name: NewName<Results, Name>,
    by: (context: RequestContext<Out, Results>) => keyof Blocks & string,
    branches: Blocks,
  ): Builders<In, Out, Results, WithBranches<Results, Name, Blocks>>[P]
}

/** Branches of a choice, as functions on builders. */
type Branches<P extends 'undoable' | 'forward', In, Out, Results extends object> = Readonly<
  Record<string, (saga: Builders<In, Out, Results, Results>[P]) => Saga<In, Out, object>>
>

/** Results of the steps that a branch adds. */
type Added<Block, Before> = Block extends (...args: never[]) => Saga<infer _In, infer _Out, infer After>
  ? Omit<After, keyof Before>
  : never

/** Results of all branches, in which each step may be absent. */
type WithBranches<Results extends object, Name extends string, Blocks> = WithResult<
  Results,
  Name,
  keyof Blocks & string
> &
  Partial<Merged<{ [K in keyof Blocks]: Added<Blocks[K], WithResult<Results, Name, string>> }[keyof Blocks]>>

type Merged<Union> = (Union extends unknown ? (each: Union) => void : never) extends (all: infer All) => void
  ? All
  : never

/**
 * Builder of a saga that can still be undone.
 *
 * Each method's form for a step that can be undone is declared twice. For a call that fits no form, such as one without
 * `compensate`, the compiler shows the error of the last form and continues with the first one, so it reports no errors for the
 * steps after it.
 */
export interface SagaBuilder<In, Out, Results extends object>
  extends Saga<In, Out, Results>,
    AddsTcc<'undoable', In, Out, Results, Results>,
    AddsOthers<'undoable', In, Out, Results, Results>,
    AddsBlocks<'undoable', In, Out, Results> {
  /** Adds a local step. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: StepOptions<Out, Results, Result, T>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  /** Adds the pivot as a local step. After it the saga only goes forward. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: ForwardStepOptions<Out, Results, Result, T> & Pivot,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  /** Adds a local step. */
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: StepOptions<Out, Results, Result, T>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, Stored<Result>>>
  /** Adds a command to a participant in another service. */
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: CommandOptions<Out, Results, ToIn, Reply>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>
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
  /**
   * Adds steps that begin together. The saga continues when all are done, and no step sees the results of the others. If one
   * refuses, the others are undone, too: those that wait at once, a local call after it has returned. The pivot cannot be one of
   * them.
   */
  parallel<After extends Results>(
    steps: (group: SagaGroup<Out, Results, Results>) => SagaGroup<Out, Results, After>,
  ): SagaBuilder<In, Out, After>
  /**
   * Adds steps that are repeated instead of undoing the saga (forward recovery). A step that refuses, or has used up its
   * attempts, is parked `stuck`, and an operator retries it or cancels the saga. The steps are undone when a later step, a
   * cancellation or the deadline undoes the saga. The pivot cannot be one of them.
   */
  forward<After extends Results>(
    steps: (saga: SagaBuilder<In, Out, Results>) => SagaBuilder<In, Out, After>,
  ): SagaBuilder<In, Out, After>
}

/** Steps that begin together. `Before`: the results that all of them see. */
export interface SagaGroup<Out, Before extends object, Results extends object>
  extends AddsSteps<'group', unknown, Out, Before, Results>,
    AddsCommands<'group', unknown, Out, Before, Results>,
    AddsTcc<'group', unknown, Out, Before, Results>,
    AddsOthers<'group', unknown, Out, Before, Results> {}

/** Steps that begin together after the pivot: a failed one is repeated, or parked while the others continue. */
export interface ForwardSagaGroup<Out, Before extends object, Results extends object>
  extends AddsSteps<'forwardGroup', unknown, Out, Before, Results>,
    AddsCommands<'forwardGroup', unknown, Out, Before, Results>,
    AddsOthers<'forwardGroup', unknown, Out, Before, Results> {}

/** Builder of a saga after its pivot: each further step is repeated until it succeeds, or parked `stuck`. */
export interface ForwardSagaBuilder<In, Out, Results extends object>
  extends Saga<In, Out, Results>,
    AddsSteps<'forward', In, Out, Results, Results>,
    AddsCommands<'forward', In, Out, Results, Results>,
    AddsOthers<'forward', In, Out, Results, Results>,
    AddsBlocks<'forward', In, Out, Results> {
  /** Adds steps that begin together. A failed step is repeated or parked, and does not block the others. */
  parallel<After extends Results>(
    steps: (group: ForwardSagaGroup<Out, Results, Results>) => ForwardSagaGroup<Out, Results, After>,
  ): ForwardSagaBuilder<In, Out, After>
}
