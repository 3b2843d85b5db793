/** The only step of a transaction that is plain code: the function passed to `globalTransaction`. */
import type { StepFailure } from '../../machine/state.ts'
import { ONCE } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { StepKind } from './kind.ts'

/** Name of the step in reports and timelines. */
export const CODE_STEP = 'code'

const GONE: StepFailure = {
  code: 'saga.code_gone',
  message: 'the process that ran the code of the transaction is gone',
}

export const CODE: StepKind = {
  name: 'code',
  // The span of the call records the outcome.
  spans: { outcome: undefined },
  resolve: () => {
    throw new TypeError('code is no step to be added: use defineGlobalTransaction')
  },
  graphOf: () => ({}),
  tiesOf: () => ({}),
  prepare: ({ name: step }, { body }) =>
    body === undefined ? { type: 'failed', step, operation: 'invoke', error: GONE, terminal: true } : undefined,
  run: (_, __, context) => context.body?.run(context),
}

/** All effects belong to its branches, so nothing else remains when it fails. */
export function codeStep(timeoutMs: number): StepDefinition {
  return Object.freeze({
    name: CODE_STEP,
    kind: CODE,
    code: true,
    remote: false,
    transactional: true,
    inTransaction: false,
    pivot: false,
    compensates: false,
    timeoutMs,
    invoke: ONCE,
    compensate: ONCE,
  })
}
