/** Steps that run only if the condition around them holds. */

import { invalidOption } from '../../core/errors.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import type { StepState } from '../machine/state.ts'
import type { Condition, Saga, StepDefinition } from './saga-definition-types.ts'
import type { RequestContext } from './step-contexts.ts'

export function requireCondition(path: string, condition: unknown): Condition {
  if (typeof condition === 'function') return condition as Condition
  throw invalidOption(`${path}.when`, condition, 'a function that returns true or false')
}

/** @throws TypeError for a pivot, because the definition must show from where the saga can no longer be undone */
export function conditional(path: string, step: StepDefinition, conditions: readonly Condition[]): StepDefinition {
  if (conditions.length === 0) return step
  if (!step.pivot) return Object.freeze({ ...step, conditions, conditional: true })
  throw new TypeError(
    `${path}.when: the pivot "${step.name}" cannot be left out. Put it before or after the condition.`,
  )
}

/**
 * Tells whether the step runs. Each condition is evaluated once, for the first step of its block; the state of that step shows
 * the decision for the rest of the block, even if the condition would decide otherwise by now.
 * @throws TypeError when a condition returns something else than true or false (such as a promise)
 */
export function isNeeded(
  saga: Pick<Saga, 'steps'>,
  states: readonly StepState[],
  index: number,
  context: RequestContext,
): boolean {
  const { name, conditions = [] } = saga.steps[index] as StepDefinition
  const known = decided(saga, states.slice(0, index))
  return conditions.every((condition) => {
    const before = known.get(condition)
    if (before !== undefined) return before
    const needed = notAwaited(condition(context))
    if (typeof needed === 'boolean') return needed
    throw invalidOption(`when(...) of step "${name}"`, needed, 'true or false, not a promise')
  })
}

/** Returns the decisions about these steps' conditions, as far as their states show them. */
function decided({ steps }: Pick<Saga, 'steps'>, states: readonly StepState[]): ReadonlyMap<Condition, boolean> {
  const known = new Map<Condition, boolean>()
  for (const [index, { status }] of states.entries()) {
    const { conditions = [], choices = [] } = steps[index] ?? {}
    if (status === 'pending' || conditions.length === 0) continue
    if (status !== 'omitted') {
      for (const condition of conditions) known.set(condition, true)
      continue
    }
    const isOfOtherBranch = choices.some(({ of, is }) => states.find(({ step }) => step === of)?.result !== is)
    const [open, ...more] = conditions.filter((condition) => known.get(condition) !== true)
    if (!isOfOtherBranch && open !== undefined && more.length === 0) known.set(open, false)
  }
  return known
}
