/** A definition as data: what the builder makes and the coordinator takes. */

import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaShape, Script, StepShape } from '../machine/state.ts'
import type { RequestContext } from './step-contexts.ts'

/** Pure: asked once per block, and again when its first step did not begin after all. */
export type Condition = (context: RequestContext) => unknown

/** A kind of step: what it does is a `StepKind`. */
export interface NamedKind {
  /** Part of the graph's hash, of which open sagas keep a copy: never to be changed. */
  readonly name: string
}

/** A step. What its kind adds is known to the file of the kind alone (`kinds/`). */
export interface StepDefinition extends StepShape {
  readonly kind: NamedKind
  /** Branch of a step that was added while its saga ran: see `StepState`. */
  readonly branch?: string | undefined
  /** All must hold for the step to be made. */
  readonly conditions?: readonly Condition[] | undefined
  /** True: each call is made in a transaction that commits with the saga's advance. @default what `transactional` says */
  readonly inTransaction?: boolean | undefined
}

/** A definition as the coordinator takes it. `Results` maps step names to what they returned. */
export interface Saga<In = unknown, Out = In, Results extends object = object> extends SagaShape {
  readonly name: string
  readonly version: number
  readonly input: StandardSchemaV1<In, Out>
  readonly steps: readonly StepDefinition[]
  /** Branches that the code of a global transaction can call, by name. */
  readonly branches?: Readonly<Record<string, StepDefinition>> | undefined
  /** Script of a machine of the state language. */
  readonly script?: (Script & { readonly branches: Readonly<Record<string, StepDefinition>> }) | undefined
  readonly deadlineMs: number | undefined
  readonly upcast?: ((stored: unknown) => unknown) | undefined
  /** Hash of the steps: their order, names, kinds and destinations. Timeouts and retries may change freely. */
  readonly graphHash: string
  /** Type only. */
  readonly results?: Results
}
