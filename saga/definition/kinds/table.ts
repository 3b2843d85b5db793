/** The kinds of steps. A new one is a file in this folder and a line here. */
import type { StepDefinition } from '../saga.ts'
import { CHOICE } from './choice.ts'
import { CODE } from './code.ts'
import { COMMAND } from './command.ts'
import { EACH } from './each.ts'
import type { StepKind } from './kind.ts'
import { LOCAL } from './local.ts'
import { MACHINE, PAUSE, TASK, VERDICT } from './machine.ts'
import { SIGNAL } from './signal.ts'
import { SUB_SAGA } from './sub-saga.ts'
import { TCC } from './tcc.ts'
import { TIMER } from './timer.ts'

export const STEP_KINDS: readonly StepKind[] = Object.freeze([
  LOCAL,
  COMMAND,
  TCC,
  SUB_SAGA,
  TIMER,
  SIGNAL,
  EACH,
  CHOICE,
  CODE,
  MACHINE,
  TASK,
  PAUSE,
  VERDICT,
])

/** For `choose`, whose branches the builder knows. */
export { CHOICE } from './choice.ts'
/** For transactions that are just code: their one step, and what their code can call. */
export { codeStep } from './code.ts'
/** For machines of the state language. */
export { machineSteps } from './machine.ts'
export { asBranch, resolveBranch } from './tcc.ts'

const BY_NAME: ReadonlyMap<string, StepKind> = new Map(STEP_KINDS.map((kind) => [kind.kind, kind]))

/** @throws TypeError for a step that this release cannot make */
export function kindOf({ kind, name }: StepDefinition): StepKind {
  const known = BY_NAME.get(kind)
  if (known !== undefined) return known
  const names = STEP_KINDS.flatMap((each) => (each.method === undefined ? [] : [each.kind])).join(', ')
  throw new TypeError(
    `step "${name}": expected a kind out of ${names}, got "${kind}". Make the saga with defineSaga of this release.`,
  )
}
