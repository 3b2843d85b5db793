/**
 * Imports machines of Seata's state language as sagas.
 *
 * @module
 */

export {
  importStateMachine,
  type StateMachineOptions,
  type StateMachineSaga,
  type StateMachineService,
} from './import.ts'
export type { ExceptionClass } from './java-exceptions.ts'
export type { Verdict } from './machine-types.ts'
export type { StateExecution, StateMachineOutcome } from './next-turn.ts'
