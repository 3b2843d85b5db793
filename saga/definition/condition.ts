/** Steps that are made only when the condition around them says so. */
import { notAwaited } from '../../core/callbacks.ts'
import { invalidOption } from '../../core/errors.ts'
import type { Condition, StepDefinition } from './saga.ts'
import type { RequestContext } from './step-contexts.ts'

export function requireCondition(path: string, condition: unknown): Condition {
  if (typeof condition === 'function') return condition as Condition
  throw invalidOption(`${path}.when`, condition, 'a function that returns true or false')
}

/** @throws TypeError for a pivot: whether there is a way back must be known */
export function conditional(path: string, step: StepDefinition, conditions: readonly Condition[]): StepDefinition {
  if (conditions.length === 0) return step
  if (!step.pivot) return Object.freeze({ ...step, conditions, conditional: true })
  throw new TypeError(
    `${path}.when: the pivot "${step.name}" cannot be left out. Put it before or after the condition.`,
  )
}

/** @throws TypeError when a condition gives something else than true or false (a promise, say) */
export function isNeeded({ name, conditions = [] }: StepDefinition, context: RequestContext): boolean {
  return conditions.every((condition) => {
    const needed = notAwaited(condition(context))
    if (typeof needed === 'boolean') return needed
    throw invalidOption(`when(...) of step "${name}"`, needed, 'true or false, not a promise')
  })
}
