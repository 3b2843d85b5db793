/** The definition of one saga instance, with the steps that were added while it ran. */
import type { SagaState, StepState } from '../machine/state.ts'
import { kindOf } from './kinds/kind.ts'
import { asBranch } from './kinds/tcc.ts'
import type { Saga, StepDefinition } from './saga-definition-types.ts'

/** Returns the definition with a step for each one of the state; unchanged if its instances do not grow. */
export function instanceDefinition(saga: Saga, { steps }: SagaState): Saga {
  if (saga.steps.length === steps.length) return saga
  const defined = saga.steps.filter(({ branch }) => branch === undefined)
  let next = 0
  const all = steps.map((state) =>
    state.branch === undefined ? (defined[next++] as StepDefinition) : added(saga, defined, state),
  )
  return Object.freeze({ ...saga, steps: Object.freeze(all) })
}

function added(saga: Saga, defined: readonly StepDefinition[], state: StepState): StepDefinition {
  const { branch = '' } = state
  const list = defined.find(({ name, each }) => name === branch && each !== undefined) ?? saga.script?.branches[branch]
  const own = list && kindOf(list).grow?.(list, state)
  const definition = own ?? asBranch(saga.branches?.[branch], state)
  return Object.freeze({ ...definition, branch })
}

/** Returns the index of the first step whose result a step does not see: its own, that of its group, or that of its list. */
export function seenUntil({ steps }: Saga, index: number): number {
  const { group, branch } = steps[index] ?? {}
  if (group !== undefined) return steps.findIndex((step) => step.group === group)
  const list = branch === undefined ? -1 : steps.findIndex(({ name, each }) => name === branch && each !== undefined)
  return list === -1 ? index : list
}
