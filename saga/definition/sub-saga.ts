/**
 * A saga as a step of another. The child is a saga like any other, started in the commit of the parent's intent and named
 * after the step, so it exists exactly if the step was begun. Its end is mail for the parent, written in the same commit;
 * the order to undo it is mail for the child. So neither can be lost, and no process has to stay for it.
 */

import { invalidOption } from '../../core/errors.ts'
import { derivedId } from '../../core/ids.ts'
import { optionNames } from '../../core/options.ts'
import { isEnded, type RetryPolicy, type SagaParent, type SagaState } from '../machine/state.ts'
import type { SagaKey } from '../store/rows.ts'
import type { SagaReply } from '../wire/reply.ts'
import { checkSaga, stepKey } from './graph.ts'
import { stepPath } from './resolve.ts'
import type { Saga, SubSagaDefinition } from './saga.ts'
import type { SubSagaOptions } from './step-options.ts'

const NAMES = optionNames<SubSagaOptions<unknown, object, unknown, object>>({
  saga: true,
  input: true,
  compensate: true,
})
const MAX_ID = 200
const ONCE: RetryPolicy = Object.freeze({
  maxAttempts: 1,
  backoff: Object.freeze({ initialMs: 1, factor: 1, maxMs: 1, jitter: 0 }),
})

interface Raw {
  readonly saga?: unknown
  readonly input?: unknown
  readonly compensate?: unknown
}

export function resolveSubSaga(method: string, name: string, options: Raw, pivoted: boolean): SubSagaDefinition {
  const path = stepPath(method, name, options, NAMES)
  const { input, compensate } = options
  const saga = options.saga as Saga
  checkSaga(`${path}.saga`, saga)
  if (typeof input !== 'function') throw invalidOption(`${path}.input`, input, 'a function')
  if (compensate !== true && compensate !== 'none' && !(pivoted && compensate === undefined)) {
    throw invalidOption(`${path}.compensate`, compensate, "true (it is undone), or 'none'")
  }
  if (pivoted && compensate === true) {
    throw new TypeError(
      `${path}.compensate: a step after the pivot cannot be undone, there is only forward. Say 'none'.`,
    )
  }
  const pivot = saga.steps.find((step) => step.pivot)
  if (compensate === true && pivot !== undefined) {
    throw new TypeError(
      `${path}.compensate: "${saga.name}" cannot be undone, its step "${pivot.name}" is a pivot. Say 'none', or take the pivot out.`,
    )
  }
  return Object.freeze({
    kind: 'saga' as const,
    name,
    remote: true,
    transactional: false,
    pivot: false,
    compensates: compensate === true,
    timeoutMs: Number.POSITIVE_INFINITY,
    invoke: ONCE,
    compensate: ONCE,
    saga,
    input: input as SubSagaDefinition['input'],
  })
}

/** The key of the saga that a step of a saga is. */
export function childKey(parent: SagaKey, step: string, child: Saga): SagaKey {
  const id = stepKey(parent.name, parent.id, step)
  return { name: child.name, id: id.length <= MAX_ID ? id : derivedId(id) }
}

/** True when the saga was begun as that step of that saga, and not of an earlier one with its id. */
export function isChildOf(parent: SagaParent | undefined, of: Omit<SagaParent, 'operation'>): boolean {
  if (parent?.name !== of.name || parent.id !== of.id || parent.step !== of.step) return false
  return parent.birth === undefined || of.birth === undefined || parent.birth === of.birth
}

/** These definitions and, below them, those of their steps. */
export function withSubSagas(sagas: readonly Saga[]): readonly Saga[] {
  const all = new Set<Saga>()
  const add = (saga: Saga): void => {
    if (all.has(saga)) return
    all.add(saga)
    for (const step of saga.steps) if (step.kind === 'saga') add(step.saga)
  }
  for (const saga of sagas) add(saga)
  return [...all]
}

/** The step of the parent, as a reply names it. */
export function addressOf({ name, id, step, operation, birth }: SagaParent): Omit<SagaReply, 'status'> {
  return { saga: name, sagaId: id, step, operation, ...(birth !== undefined && { birth }) }
}

/** What the parent is told when this state was reached; `undefined` when there is nothing to tell. */
export function reportToParent({ parent, status, steps, failure }: SagaState): SagaReply | undefined {
  if (parent === undefined || !isEnded(status)) return undefined
  const { operation } = parent
  const to = addressOf(parent)
  const said = { code: failure?.code ?? 'saga.compensated', message: failure?.message ?? 'it was compensated' }
  if (operation === 'compensate') {
    if (status === 'compensated') return { ...to, status: 'ok' }
    return {
      ...to,
      status: 'failed',
      final: true,
      code: 'saga.completed',
      message: 'an operator ended it as completed',
    }
  }
  if (status === 'compensated') return { ...to, status: 'refused', ...said }
  return { ...to, status: 'ok', result: Object.fromEntries(steps.map((each) => [each.step, each.result])) }
}
