/** Data of a definition: the builder creates it, the coordinator uses it. */

import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaShape, Script, StepShape } from '../machine/state.ts'
import type { RequestContext } from './step-contexts.ts'

/** Condition of steps. Pure: evaluated once per block, and again if its first step did not begin. */
export type Condition = (context: RequestContext) => unknown

/** Kind of a step. A `StepKind` has its behaviour. */
export interface NamedKind {
  /** Part of the graph's hash, which open sagas store: must never change. */
  readonly name: string
}

/** A step. Only the file of its kind (`kinds/`) knows the fields that the kind adds. */
export interface StepDefinition extends StepShape {
  readonly kind: NamedKind
  /** Branch that added the step while its saga ran: see `StepState`. */
  readonly branch?: string | undefined
  /** Conditions that must all hold, or the step is omitted. */
  readonly conditions?: readonly Condition[] | undefined
  /** True: each call runs in a transaction that commits with the saga's progress. @default the value of `transactional` */
  readonly inTransaction?: boolean | undefined
}

/** Definition that the coordinator takes. `Results` maps step names to their results. */
export interface Saga<In = unknown, Out = In, Results extends object = object> extends SagaShape {
  readonly name: string
  readonly version: number
  readonly input: StandardSchemaV1<In, Out>
  readonly steps: readonly StepDefinition[]
  /** Branches that the code of a global transaction can call, by name. */
  readonly branches?: Readonly<Record<string, StepDefinition>> | undefined
  /** Script of a saga that is a machine of the state language. */
  readonly script?: (Script & { readonly branches: Readonly<Record<string, StepDefinition>> }) | undefined
  readonly deadlineMs: number | undefined
  readonly upcast?: ((stored: unknown) => unknown) | undefined
  /** Hash of the steps: their order, names, kinds and destinations. Timeouts and retries may change freely. */
  readonly graphHash: string
  /** Type only. */
  readonly results?: Results
}
