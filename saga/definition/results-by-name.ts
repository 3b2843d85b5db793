/** Results of a saga's steps, by their names in the definition. */

import type { StepState } from '../machine/state.ts'
import { isItemOf } from '../machine/step-shape-lookup.ts'

/** Returns the results by the names of the definition's steps. The result of a list is the list of its items' results. */
export function resultsByName(
  steps: readonly Pick<StepState, 'step' | 'branch' | 'result'>[],
): Record<string, unknown> {
  const results: Record<string, unknown> = {}
  const lists = new Map<string, unknown[]>()
  for (const { step, branch, result } of steps) {
    if (branch === undefined || !isItemOf(branch, step)) {
      results[step] = result
      continue
    }
    const list = lists.get(branch) ?? []
    lists.set(branch, list)
    list.push(result)
    results[branch] = list
  }
  return results
}
