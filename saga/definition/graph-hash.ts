/** The hash that an open saga keeps of its definition: one with another is not its definition. */
import { hashJson } from '../json.ts'
import { kindOf } from './kinds/kind.ts'
import type { StepDefinition } from './saga-definition-types.ts'

/** Equal for definitions whose instances can stand in for each other. */
export function graphHash(name: string, version: number, steps: readonly StepDefinition[]): string {
  const graph = steps.map((step) => ({
    name: step.name,
    kind: step.kind.name,
    transactional: step.transactional,
    pivot: step.pivot,
    compensates: step.compensates,
    to: null,
    ...(step.group !== undefined && { group: step.group }),
    ...(step.choices !== undefined && { choices: step.choices }),
    ...(step.forward === true && { forward: true }),
    ...(step.conditional === true && { conditional: true }),
    ...kindOf(step).graphOf(step),
  }))
  return hashJson({ name, version, steps: graph })
}
