/** The builders of a definition as types: what may be added where, and what each step knows of those before it. */
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { Stored } from '../json.ts'
import type { RequestContext } from './contexts.ts'
import type { Saga } from './saga.ts'
import type {
  CommandOptions,
  ForwardCommandOptions,
  ForwardStepOptions,
  ForwardSubSagaOptions,
  MessageSignalOptions,
  SignalOptions,
  StepOptions,
  SubSagaOptions,
  TimerOptions,
} from './step-options.ts'

/** The results with one more. */
export type WithResult<Results extends object, Name extends string, Result> = Results & {
  readonly [K in Name]: Result
}

type NewName<Results, Name extends string> = Name extends keyof Results ? never : Name
type Pivot = { readonly pivot: true }

/** What is known when a condition is asked. */
type When<Out, Results extends object> = (context: RequestContext<Out, Results>) => boolean
/** The results with those of steps that may have been left out. */
type WithOptional<Results extends object, After extends object> = Results & Partial<Omit<After, keyof Results>>

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
  /** Adds another saga as a step: done when that has completed, refused when that was compensated. */
  saga<Name extends string, ChildIn, ChildResults extends object>(
    name: NewName<Results, Name>,
    options: SubSagaOptions<Out, Results, ChildIn, ChildResults>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, Stored<ChildResults>>>
  /** Waits for a time. Durable, and free while it waits. */
  timer<Name extends string>(
    name: NewName<Results, Name>,
    options: TimerOptions<Out, Results>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, undefined>>
  /** Waits for `coordinator.signal`. One that comes before the step begins is kept for it. */
  signal<Name extends string, Payload extends StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: SignalOptions<Payload>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Payload>>>
  /** Waits for a message of a channel. One that comes before the step begins is kept for it. */
  signal<Name extends string, FromIn, Payload>(
    name: NewName<Results, Name>,
    options: MessageSignalOptions<FromIn, Payload>,
  ): SagaBuilder<In, Out, WithResult<Results, Name, Stored<Payload>>>
  /**
   * Adds steps that are made only if `condition` holds when their turn comes; else they are left out, with nothing to undo
   * and no result. Pure: it is asked for each of them. The pivot cannot be among them.
   */
  when<After extends Results>(
    condition: When<Out, Results>,
    steps: (saga: SagaBuilder<In, Out, Results>) => SagaBuilder<In, Out, After>,
  ): SagaBuilder<In, Out, WithOptional<Results, After>>
  /**
   * Adds steps that are begun together; the saga goes on when all are done. None sees the results of the others. If one says
   * no, the others are undone too: those that wait at once, a local call when it has returned. The pivot cannot be among
   * them, and after it steps are made one by one.
   */
  parallel<After extends Results>(
    steps: (group: SagaGroup<Out, Results, Results>) => SagaGroup<Out, Results, After>,
  ): SagaBuilder<In, Out, After>
}

/** Steps that are begun together. `Before`: what they all see. */
export interface SagaGroup<Out, Before extends object, Results extends object> {
  step<Name extends string, Result, T extends boolean = false>(
    name: NewName<Results, Name>,
    options: StepOptions<Out, Before, Result, T>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, Stored<Result>>>
  command<Name extends string, ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: CommandOptions<Out, Before, ToIn, Reply>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, StandardSchemaV1.InferOutput<Reply>>>
  saga<Name extends string, ChildIn, ChildResults extends object>(
    name: NewName<Results, Name>,
    options: SubSagaOptions<Out, Before, ChildIn, ChildResults>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, Stored<ChildResults>>>
  timer<Name extends string>(
    name: NewName<Results, Name>,
    options: TimerOptions<Out, Before>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, undefined>>
  signal<Name extends string, Payload extends StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: SignalOptions<Payload>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, StandardSchemaV1.InferOutput<Payload>>>
  signal<Name extends string, FromIn, Payload>(
    name: NewName<Results, Name>,
    options: MessageSignalOptions<FromIn, Payload>,
  ): SagaGroup<Out, Before, WithResult<Results, Name, Stored<Payload>>>
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
  /** Adds another saga as a step: done when that has completed, refused when that was compensated. */
  saga<Name extends string, ChildIn, ChildResults extends object>(
    name: NewName<Results, Name>,
    options: ForwardSubSagaOptions<Out, Results, ChildIn, ChildResults>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, Stored<ChildResults>>>
  /** Waits for a time. Durable, and free while it waits. */
  timer<Name extends string>(
    name: NewName<Results, Name>,
    options: TimerOptions<Out, Results>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, undefined>>
  /** Waits for `coordinator.signal`. One that comes before the step begins is kept for it. */
  signal<Name extends string, Payload extends StandardSchemaV1>(
    name: NewName<Results, Name>,
    options: SignalOptions<Payload>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, StandardSchemaV1.InferOutput<Payload>>>
  /** Waits for a message of a channel. One that comes before the step begins is kept for it. */
  signal<Name extends string, FromIn, Payload>(
    name: NewName<Results, Name>,
    options: MessageSignalOptions<FromIn, Payload>,
  ): ForwardSagaBuilder<In, Out, WithResult<Results, Name, Stored<Payload>>>
  /**
   * Adds steps that are made only if `condition` holds when their turn comes; else they are left out, with nothing to undo
   * and no result. Pure: it is asked for each of them. The pivot cannot be among them.
   */
  when<After extends Results>(
    condition: When<Out, Results>,
    steps: (saga: ForwardSagaBuilder<In, Out, Results>) => ForwardSagaBuilder<In, Out, After>,
  ): ForwardSagaBuilder<In, Out, WithOptional<Results, After>>
}
