/** The builders of a definition as types: what may be added where, and what each step knows of those before it. */
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

/** The results with one more. */
export type WithResult<Results extends object, Name extends string, Result> = Results & {
  readonly [K in Name]: Result
}

type NewName<Results, Name extends string> = Name extends keyof Results ? never : Name
type Pivot = { readonly pivot: true }

/** A condition, with its context. */
type When<Out, Results extends object> = (context: RequestContext<Out, Results>) => boolean
/** The results with those of steps that may have been left out. */
type WithOptional<Results extends object, After extends object> = Results & Partial<Omit<After, keyof Results>>

/** The builder that a method gives, by the one that it is called on. `Known`: the results that a step's functions see. */
interface Builders<In, Out, Known extends object, Results extends object> {
  readonly undoable: SagaBuilder<In, Out, Results>
  readonly forward: ForwardSagaBuilder<In, Out, Results>
  readonly group: SagaGroup<Out, Known, Results>
  readonly forwardGroup: ForwardSagaGroup<Out, Known, Results>
}

type Scope = keyof Builders<unknown, unknown, object, object>
/** Where no step can be the pivot, so that `step` and `command` have one form. */
type WithoutPivot = Exclude<Scope, 'undoable'>

interface AddsTimers<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Waits for a time. Durable, and free while it waits. */
  timer<Name extends string>(
    name: NewName<Results, Name>,
    options: TimerOptions<Out, Known>,
  ): Builders<In, Out, Known, WithResult<Results, Name, undefined>>[P]
}

interface AddsSignals<P extends Scope, In, Out, Known extends object, Results extends object> {
  /** Waits for `coordinator.signal`. One that comes before the step begins is kept for it. */
  signal<Name extends string, Payload extends StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: SignalOptions<Payload>,
  ): Builders<In, Out, Known, WithResult<Results, Name, StandardSchemaV1.InferOutput<Payload>>>[P]
  /** Waits for a message of a channel. One that comes before the step begins is kept for it. */
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
  /** Adds another saga as a step: done when that has completed, refused when that was compensated. */
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

/** Where a saga can still turn back. */
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
  /** The same in the coordinator's process. */
  each<Name extends string, Item, Result>(
    name: NewName<Results, Name>,
    options: EachTccStepAt<Out, Known, Item, Result>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly Stored<Result>[]>>[P]
  /** Adds a local step for each item of a list; the result is the list of what they returned. */
  each<Name extends string, Item, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: EachStepAt<Out, Known, Item, Result, T>[P],
  ): Builders<In, Out, Known, WithResult<Results, Name, readonly Stored<Result>[]>>[P]
}

interface AddsTcc<P extends BeforePivot, In, Out, Known extends object, Results extends object> {
  /**
   * Adds a step that reserves first, in another service (`tccParticipant`): it is confirmed when the saga is decided, and
   * cancelled when it turns back.
   */
  tcc<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: TccCommandOptions<Out, Known, ToIn, Reply>,
  ): Builders<In, Out, Known, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>[P]
  /** The same in the coordinator's process. */
  tcc<Name extends string, Result>(
    name: NewName<Results, Name>,
    options: TccStepOptions<Out, Known, Result>,
  ): Builders<In, Out, Known, WithResult<Results, Name, Stored<Result>>>[P]
}

/** The steps that wait, or are sagas: added alike wherever one is. */
interface AddsOthers<P extends Scope, In, Out, Known extends object, Results extends object>
  extends AddsSagas<P, In, Out, Known, Results>,
    AddsLists<P, In, Out, Known, Results>,
    AddsTimers<P, In, Out, Known, Results>,
    AddsSignals<P, In, Out, Known, Results> {}

interface AddsBlocks<P extends 'undoable' | 'forward', In, Out, Results extends object> {
  /**
   * Adds steps that are made only if `condition` holds when their turn comes; else they are left out, with nothing to undo
   * and no result. Pure. It is asked once, for the first of them. The pivot cannot be among them.
   */
  when<After extends Results>(
    condition: When<Out, Results>,
    steps: (saga: Builders<In, Out, Results, Results>[P]) => Builders<In, Out, Results, After>[P],
  ): Builders<In, Out, Results, WithOptional<Results, After>>[P]
  /**
   * Adds steps in several branches, of which one is made: `choose('route', ({ input }) => input.far ? 'air' : 'road', { air:
   * (saga) => ..., road: (saga) => ... })`. Decided once, when its turn comes, and kept; the result of `name` is the branch.
   * The steps of the others are left out. A branch may have no steps: `(saga) => saga`. The pivot cannot be among them.
   */
  choose<Name extends string, Blocks extends Branches<P, In, Out, WithResult<Results, Name, string>>>(
    name: NewName<Results, Name>,
    by: (context: RequestContext<Out, Results>) => keyof Blocks & string,
    branches: Blocks,
  ): Builders<In, Out, Results, WithBranches<Results, Name, Blocks>>[P]
}

/** Builders of a choice's branches. */
type Branches<P extends 'undoable' | 'forward', In, Out, Results extends object> = Readonly<
  Record<string, (saga: Builders<In, Out, Results, Results>[P]) => Saga<In, Out, object>>
>

/** The results of the steps that a branch adds. */
type Added<Block, Before> = Block extends (...args: never[]) => Saga<infer _In, infer _Out, infer After>
  ? Omit<After, keyof Before>
  : never

/** Results of all branches, each step possibly omitted. */
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
 * A saga whose steps can still be undone.
 *
 * Each method's form for a step that can be undone stands twice. Of a call that fits none, as one without `compensate`, the compiler
 * shows the error of the last form, and goes on with the first one: so the steps behind it are no errors.
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
   * Adds steps that are begun together; the saga goes on when all are done. None sees the results of the others. If one says
   * no, the others are undone too: those that wait at once, a local call when it has returned. The pivot cannot be among
   * them.
   */
  parallel<After extends Results>(
    steps: (group: SagaGroup<Out, Results, Results>) => SagaGroup<Out, Results, After>,
  ): SagaBuilder<In, Out, After>
  /**
   * Adds steps that are repeated instead of turning the saga back (forward recovery): one that is refused, or has used up
   * its attempts, is parked `stuck`, and an operator has it tried again, or turns the saga back. They are undone when a later
   * step, a cancellation or the deadline turns the saga back. The pivot cannot be among them.
   */
  forward<After extends Results>(
    steps: (saga: SagaBuilder<In, Out, Results>) => SagaBuilder<In, Out, After>,
  ): SagaBuilder<In, Out, After>
}

/** Steps that are begun together. `Before`: what they all see. */
export interface SagaGroup<Out, Before extends object, Results extends object>
  extends AddsSteps<'group', unknown, Out, Before, Results>,
    AddsCommands<'group', unknown, Out, Before, Results>,
    AddsTcc<'group', unknown, Out, Before, Results>,
    AddsOthers<'group', unknown, Out, Before, Results> {}

/** The same after the pivot: one that fails is repeated, or parked while the others go on. */
export interface ForwardSagaGroup<Out, Before extends object, Results extends object>
  extends AddsSteps<'forwardGroup', unknown, Out, Before, Results>,
    AddsCommands<'forwardGroup', unknown, Out, Before, Results>,
    AddsOthers<'forwardGroup', unknown, Out, Before, Results> {}

/** A saga past its pivot: each further step is repeated until it works, or parked `stuck`. */
export interface ForwardSagaBuilder<In, Out, Results extends object>
  extends Saga<In, Out, Results>,
    AddsSteps<'forward', In, Out, Results, Results>,
    AddsCommands<'forward', In, Out, Results, Results>,
    AddsOthers<'forward', In, Out, Results, Results>,
    AddsBlocks<'forward', In, Out, Results> {
  /** Adds steps that are begun together. One that fails is repeated or parked, and holds up none of the others. */
  parallel<After extends Results>(
    steps: (group: ForwardSagaGroup<Out, Results, Results>) => ForwardSagaGroup<Out, Results, After>,
  ): ForwardSagaBuilder<In, Out, After>
}
