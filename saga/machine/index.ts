/**
 * The pure saga machine: a state and an event give the next state, with no database and no clock.
 *
 * @module
 */

export type { Transition, Wake } from './draft.ts'
export type { SagaEvent } from './event.ts'
export { advance } from './machine.ts'
export type { Operation } from './operation.ts'
export {
  type Call,
  type Choice,
  type EachShape,
  type GrownStep,
  initialState,
  type RetryPolicy,
  type SagaParent,
  type SagaShape,
  type Script,
  type ScriptTurn,
  type StepShape,
  type Wait,
} from './state.ts'
