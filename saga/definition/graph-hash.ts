/** The hash of a definition that an open saga stores, to recognise its definition. */
import { hashJson } from '../json.ts'
import { kindOf } from './kinds/kind.ts'
import type { StepDefinition } from './saga-definition-types.ts'

/** Returns a hash that is equal for definitions whose instances are interchangeable. */
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
