/** A definition as data: what the builder makes and the coordinator takes. */

import type { Channel } from '../../binder/channel/channel.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaShape, StepShape } from '../machine/state.ts'
import type { CompensationContext, RequestContext, StepContext, WithTransaction } from './contexts.ts'

/** Pure: asked for each step below it, and again when the step did not begin after all. */
export type Condition = (context: RequestContext) => unknown

/** Done when its time has come. */
export interface TimerDefinition extends StepShape {
  readonly kind: 'timer'
  readonly awaits: 'time'
  readonly delay: number | ((context: RequestContext) => unknown)
}

/** Done when somebody says so: `coordinator.signal`, or a message of a channel. */
export interface SignalDefinition extends StepShape {
  readonly kind: 'signal'
  readonly awaits: 'signal'
  readonly payload: StandardSchemaV1 | undefined
  readonly from: Channel | undefined
  readonly correlate: ((payload: unknown) => unknown) | undefined
}

/** A step that runs in the coordinator's process. */
export interface LocalDefinition extends StepShape {
  readonly kind: 'local'
  readonly remote: false
  readonly run: (context: StepContext & Partial<WithTransaction>) => unknown
  readonly undo: ((context: CompensationContext & Partial<WithTransaction>) => unknown) | undefined
}

/** A step that a participant in another service makes. */
export interface CommandDefinition extends StepShape {
  readonly kind: 'command'
  readonly remote: true
  readonly to: Channel
  readonly request: (context: RequestContext) => unknown
  readonly reply: StandardSchemaV1 | undefined
}

export interface SubSagaDefinition extends StepShape {
  readonly kind: 'saga'
  readonly saga: Saga
  readonly input: (context: RequestContext) => unknown
}

export type StepDefinition = (
  | LocalDefinition
  | CommandDefinition
  | TimerDefinition
  | SignalDefinition
  | SubSagaDefinition
) & {
  /** All must hold for the step to be made. */
  readonly conditions?: readonly Condition[] | undefined
}

/** A definition as the coordinator takes it. `Results` maps step names to what they returned. */
export interface Saga<In = unknown, Out = In, Results extends object = object> extends SagaShape {
  readonly name: string
  readonly version: number
  readonly input: StandardSchemaV1<In, Out>
  readonly steps: readonly StepDefinition[]
  readonly deadlineMs: number | undefined
  readonly upcast?: ((stored: unknown) => unknown) | undefined
  /** Hash of the steps: their order, names, kinds and destinations. Timeouts and retries may change freely. */
  readonly graphHash: string
  /** Type only. */
  readonly results?: Results
}
