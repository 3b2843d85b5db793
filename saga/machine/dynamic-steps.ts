/** Steps that await a plan: the definition decided, when they began, about the steps after them. It is called once. */

import { onward } from './moves.ts'
import type { TransitionDraft } from './transition-draft.ts'

/** Adds a step for each of these items, which are steps of the state from then on. */
export function planned(draft: TransitionDraft, step: string, items: readonly unknown[]): boolean {
  const index = awaiting(draft, step)
  if (index === -1 || draft.shapeOf(index).chooses !== undefined) return false
  if (draft.shapeOf(index).each === undefined) {
    // A script begins with its input.
    draft.close(index, 'invoked', { result: items[0] })
    onward(draft, index)
    return true
  }
  // The results of the items follow.
  draft.close(index, 'invoked', { result: [] })
  draft.note('planned', index, { items: items.length })
  draft.list(index, items)
  for (const item of draft.itemsOf(index)) draft.begin(item, 'invoking')
  onward(draft, index)
  return true
}

/** Records the chosen branch: the steps of the other branches are omitted. */
export function chosen(draft: TransitionDraft, step: string, branch: string): boolean {
  const index = awaiting(draft, step)
  if (index === -1 || draft.shapeOf(index).chooses?.includes(branch) !== true) return false
  draft.close(index, 'invoked', { result: branch })
  draft.note('chosen', index, { branch })
  leaveOut(draft, step, branch)
  onward(draft, index)
  return true
}

/** Omits the steps that this one has not chosen; all branches if the step itself was omitted. */
export function leaveOut(draft: TransitionDraft, step: string, chosenBranch?: string): void {
  for (const [index, { status }] of draft.steps.entries()) {
    const isOther = draft.shapeOf(index).choices?.some(({ of, is }) => of === step && is !== chosenBranch) === true
    if (status !== 'pending' || !isOther) continue
    draft.close(index, 'omitted')
    draft.note('omitted', index)
  }
}

/** Tells whether an operator can give this result to a plan: one of the branches, a list of results, or nothing. */
export function fitsPlan(draft: TransitionDraft, index: number, result: unknown): boolean {
  const { chooses, each } = draft.shapeOf(index)
  if (result === undefined) return true
  if (chooses !== undefined) return chooses.some((branch) => branch === result)
  return each === undefined || Array.isArray(result)
}

/** An operator marked the step as done: it chose the branch in the result, or none; a list has no items. */
export function skipPlan(draft: TransitionDraft, index: number, result: unknown): void {
  const { chooses, each } = draft.shapeOf(index)
  if (each !== undefined && result === undefined) draft.set(index, { result: [] })
  if (chooses !== undefined) leaveOut(draft, draft.step(index).step, result as string | undefined)
}

function awaiting(draft: TransitionDraft, step: string): number {
  const index = draft.indexOf(step, 'invoke')
  return index !== -1 && draft.step(index).wait === 'plan' ? index : -1
}
