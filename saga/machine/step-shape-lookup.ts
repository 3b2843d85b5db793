/** Finds the shapes of a state's steps: those of the definition in their order, and those that were added while it ran. */
import type { SagaShape, StepShape, StepState } from './state.ts'

/** Returns the name of the step for one item of a list: `ship[3]`. No step of a definition can have such a name. */
export function itemName(step: string, index: number): string {
  return `${step}[${index}]`
}

export function isItemOf(step: string, name: string): boolean {
  return name.startsWith(`${step}[`)
}

/** Returns the list whose item has this name; any other name unchanged. */
export function listOf(name: string): string {
  const bracket = name.endsWith(']') ? name.lastIndexOf('[') : -1
  return bracket === -1 ? name : name.slice(0, bracket)
}

/** Returns the index of the item in the name. */
export function itemIndex(name: string): number {
  return Number(name.slice(name.lastIndexOf('[') + 1, -1))
}

/**
 * Returns the shape of each step of a state.
 * @throws TypeError for a branch that the shape does not have
 */
export function layout(shape: SagaShape, steps: readonly StepState[]): readonly StepShape[] {
  if (shape.steps.length === steps.length) return shape.steps
  const lists = new Map(shape.steps.flatMap((step) => (step.each === undefined ? [] : [[step.name, step] as const])))
  let next = 0
  return steps.map((state) => {
    if (state.branch === undefined) return shape.steps[next++] as StepShape
    const list = lists.get(state.branch)
    return list === undefined ? branchShape(shape, state) : itemShape(list, state.step)
  })
}

/** Returns the shape of a list's item: in the group of the list, chosen with it, with its retries. */
export function itemShape({ each, group, choices, forward }: StepShape, name: string): StepShape {
  return {
    ...(each?.item as StepShape),
    name,
    ...(group !== undefined && { group }),
    ...(choices !== undefined && { choices }),
    ...(forward !== undefined && { forward }),
  }
}

/** Returns the shape of a step that code or a script added. @throws TypeError for a branch that the shape does not have */
export function branchShape({ branches, script }: SagaShape, { step, branch = '' }: StepState): StepShape {
  const all = branches ?? script?.branches ?? {}
  const known = Object.hasOwn(all, branch) ? all[branch] : undefined
  if (known === undefined) throw new TypeError(`step "${step}": there is no branch "${branch}"`)
  return { ...known, name: step }
}
