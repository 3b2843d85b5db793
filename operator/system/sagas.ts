/** Sagas as they are declared, without their functions. */
import { kindOf } from '../../saga/definition/kinds/kind.ts'
import type { Saga, StepDefinition } from '../../saga/definition/saga-definition-types.ts'
import type { SystemSaga, SystemStep } from './system.ts'

export function systemSaga({ name, version, deadlineMs, steps, branches }: Saga): SystemSaga {
  return {
    name,
    version,
    deadlineMs: deadlineMs ?? null,
    steps: [...steps.map(systemStep), ...branchesOf(steps, branches)],
  }
}

/** Branches that the code of a global transaction may call; the code decides which, and in which order. */
function branchesOf({ length }: readonly StepDefinition[], branches: Saga['branches'] = {}): readonly SystemStep[] {
  const asked = { kind: 'branch', group: length, conditional: true }
  return Object.entries(branches).map(([name, branch]) => ({ ...systemStep(branch), ...asked, name }))
}

function systemStep(step: StepDefinition): SystemStep {
  const kind = kindOf(step)
  const { to, from, saga } = kind.tiesOf(step)
  return {
    name: step.name,
    kind: kind.name,
    pivot: step.pivot,
    compensates: step.each?.item.compensates ?? step.compensates,
    group: step.group ?? null,
    conditional: step.conditional === true,
    choices: step.choices ?? [],
    chooses: step.chooses ?? null,
    to: to?.name ?? null,
    from: from?.channel.name ?? null,
    saga: saga?.name ?? null,
    waits: step.awaits === 'time' || step.awaits === 'signal',
  }
}
