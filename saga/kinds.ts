/**
 * For authors of step kinds: the contract of a kind, and a saga whose steps a script adds while it runs.
 *
 * @module
 */
export type { RunContext, StepKind } from './definition/kinds/kind.ts'
export type { StepDefinition } from './definition/saga.ts'
export { scriptedSaga } from './definition/scripted-saga.ts'
export { stored } from './json.ts'
export { inSaga } from './wire/context.ts'
