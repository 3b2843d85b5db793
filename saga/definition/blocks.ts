/** Builder methods that take a function which adds steps: conditions, choices and groups. */
import { invalidOption } from '../../core/errors.ts'
import type { Choice } from '../machine/state.ts'
import { conditional, requireCondition } from './condition.ts'
import { branchesOf, checkStep, placedIn, refuseInGroup, stepsOfBlock, stepsOfBranch } from './definition-rules.ts'
import { CHOICE } from './kinds/choice.ts'
import type { Condition, StepDefinition } from './saga-definition-types.ts'

/** Context of added steps: conditions, branches, their group. */
export interface Around {
  readonly conditions: readonly Condition[]
  readonly group?: number | undefined
  readonly choices?: readonly Choice[] | undefined
  readonly forward?: true | undefined
}

/** A builder, and the way to derive another one. */
export interface Site {
  /** For error messages: `defineSaga("place-order")`. */
  readonly path: string
  readonly steps: readonly StepDefinition[]
  readonly around: Around
  readonly make: (steps: readonly StepDefinition[], around: Around) => object
}

/** Returns the step for this position. @throws TypeError when this position does not allow it */
export function placed({ path, around }: Site, step: StepDefinition): StepDefinition {
  return placedIn(path, conditional(path, step, around.conditions), around)
}

export function blockMethods(site: Site): object {
  const { path, steps, around } = site
  const alone = (method: string): void => refuseInGroup(path, method, around.group)
  return {
    when: (condition: unknown, more: unknown) => {
      alone('when')
      const given = requireCondition(path, condition)
      // A function for this block alone: its steps store the decision.
      const asked: Condition = (context) => given(context)
      return block(site, 'when', more, { ...around, conditions: [...around.conditions, asked] })
    },
    parallel: (more: unknown) => {
      alone('parallel')
      return block(site, 'parallel', more, { ...around, group: steps.length })
    },
    forward: (more: unknown) => {
      alone('forward')
      if (!steps.some((step) => step.pivot)) return block(site, 'forward', more, { ...around, forward: true })
      throw new TypeError(`${path}.forward: after the pivot there is only forward, add the steps as they are`)
    },
    choose: (name: string, by: unknown, branches: unknown) => {
      alone('choose')
      return choose(site, name, by, branches)
    },
  }
}

/** Adds the steps of `more` to a builder with another context. */
function block({ path, steps, around, make }: Site, method: string, more: unknown, inside: Around): object {
  if (typeof more !== 'function') throw invalidOption(`${path}.${method}`, more, 'a function: (saga) => saga.step(...)')
  return make(stepsOfBlock(path, method, steps, more(make(steps, inside))), around)
}

/** Adds the step that chooses, then the steps of all branches. */
function choose(site: Site, name: string, by: unknown, branches: unknown): object {
  const { path, steps, around, make } = site
  const blocks = branchesOf(`${path}.choose("${name}")`, branches)
  const place = { method: `${path}.choose`, name, pivoted: steps.some((step) => step.pivot) }
  const chooser = CHOICE.resolve(place, { by, branches: [...blocks.keys()] })
  checkStep(path, steps, chooser)
  let added: readonly StepDefinition[] = [...steps, placed(site, chooser)]
  for (const [is, more] of blocks) {
    const inside = { ...around, choices: [...(around.choices ?? []), { of: name, is }] }
    added = stepsOfBranch(path, `choose("${name}").${is}`, added, more(make(added, inside)))
  }
  return make(added, around)
}
