/** Sagas as they are declared, without their functions. */
import { kindOf } from '../../saga/definition/kinds/table.ts'
import type { Saga, StepDefinition } from '../../saga/definition/saga.ts'
import type { SystemSaga, SystemStep } from './system.ts'

export function systemSaga({ name, version, deadlineMs, steps }: Saga): SystemSaga {
  return { name, version, deadlineMs: deadlineMs ?? null, steps: steps.map(systemStep) }
}

function systemStep(step: StepDefinition): SystemStep {
  const kind = kindOf(step)
  const { to, from, saga } = kind.tiesOf(step)
  return {
    name: step.name,
    kind: kind.method === 'step' ? 'local' : (kind.method ?? kind.kind),
    pivot: step.pivot,
    compensates: step.compensates,
    group: step.group ?? null,
    conditional: step.conditional === true,
    to: to?.name ?? null,
    from: from?.channel.name ?? null,
    saga: saga?.name ?? null,
    waits: kind.run === undefined && to === undefined && saga === undefined,
  }
}
