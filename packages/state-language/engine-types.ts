/** Types of the engine without a public name, derived from the script of a saga. */
import type { scriptedSaga } from 'concordat/extension'

type Next = Parameters<typeof scriptedSaga>[0]['next']

export type StepState = Parameters<Next>[0][number]
export type StepFailure = NonNullable<StepState['error']>
export type ScriptTurn = ReturnType<Next>
export type GrownStep = Extract<ScriptTurn, { readonly grow: unknown }>['grow'][number]
