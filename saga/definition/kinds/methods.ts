/** Methods of a builder and the kind of step that each adds. Kinds outside this list are created by the parts that own them. */
import { COMMAND } from './command.ts'
import { EACH } from './each.ts'
import type { StepKind } from './kind.ts'
import { LOCAL } from './local.ts'
import { SIGNAL } from './signal.ts'
import { SUB_SAGA } from './sub-saga.ts'
import { TCC } from './tcc.ts'
import { TIMER } from './timer.ts'

export const KIND_OF_METHOD: Readonly<Record<string, StepKind>> = Object.freeze({
  step: LOCAL,
  command: COMMAND,
  tcc: TCC,
  saga: SUB_SAGA,
  timer: TIMER,
  signal: SIGNAL,
  each: EACH,
})
