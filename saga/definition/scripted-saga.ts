import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { Script } from '../machine/state.ts'
import { checkSagaName } from './definition-rules.ts'
import { graphHash } from './graph-hash.ts'
import type { Saga, StepDefinition } from './saga-definition-types.ts'

/** A saga whose steps are not listed: a script decides what follows the first one. */
export interface SagaScript<Out> {
  /** Name of the saga, with the rules of `defineSaga`. */
  readonly name: string
  /** Version of the saga: raise it with every change of its graph. */
  readonly version: number
  /** Schema of the saga's input. */
  readonly input: StandardSchemaV1<Out>
  /** The first step, which awaits its plan, and is the pivot. */
  readonly first: StepDefinition
  /** Steps that the script adds, by name, including `outcome` and `recovery`. */
  readonly branches: Readonly<Record<string, StepDefinition>>
  /** Decides the next steps from the results so far. Pure, and the same in every process. */
  readonly next: Script['next']
}

/** Creates a saga from a script. @throws TypeError for a bad name */
export function scriptedSaga<Out, Results extends object>(script: SagaScript<Out>): Saga<Out, Out, Results> {
  const { name, version, input, first, branches, next } = script
  checkSagaName(name)
  const steps = Object.freeze([first])
  return Object.freeze({
    name,
    version,
    input,
    deadlineMs: undefined,
    upcast: undefined,
    steps,
    script: Object.freeze({ branches, next }),
    graphHash: graphHash(name, version, steps),
  })
}
