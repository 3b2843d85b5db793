/**
 * `.saga(...)`: a saga as a step of another. The sub-saga is a normal saga, started in the commit of the parent's intent and
 * named after the step, so it exists if and only if the step began. Its end is mail for the parent, written in the commit of the
 * end; the order to undo it is mail for the sub-saga. So neither can be lost, and no process has to stay alive for it.
 */

import { invalidOption } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import { synchronous } from '../../../core/unawaited-callbacks.ts'
import type { Operation } from '../../machine/operation.ts'
import type { SagaKey, SagaPost } from '../../store/store-types.ts'
import type { SagaReply } from '../../wire/reply.ts'
import { checkSaga } from '../definition-rules.ts'
import { addressOf, childKeys } from '../parent-child-relation.ts'
import { ONCE, stepPath } from '../resolve-step-options.ts'
import type { Saga, StepDefinition } from '../saga-definition-types.ts'
import type { RequestContext } from '../step-contexts.ts'
import type { Forward } from '../step-options.ts'
import type { PreparedCall, StepKind } from './kind.ts'

interface SubSaga<Input, Results extends object, ChildIn, ChildResults extends object> {
  /** The sub-saga, driven by the same coordinator; it need not be in its `sagas`. */
  readonly saga: Saga<ChildIn, unknown, ChildResults>
  /** Returns the sub-saga's input. Must be pure: called again when the call is repeated. */
  readonly input: (context: RequestContext<Input, Results>) => ChildIn
}

/** Options of `.saga` before the pivot: whether the sub-saga is undone with this one. */
export interface SubSagaOptions<Input, Results extends object, ChildIn, ChildResults extends object>
  extends SubSaga<Input, Results, ChildIn, ChildResults> {
  /**
   * True: when this saga is undone the sub-saga is undone, too, even if it has completed; it must have no pivot. `'none'`: the
   * sub-saga remains as it is.
   */
  readonly compensate: true | 'none'
}

/** Options of `.saga` after the pivot, where nothing is undone. */
export interface ForwardSubSagaOptions<Input, Results extends object, ChildIn, ChildResults extends object>
  extends SubSaga<Input, Results, ChildIn, ChildResults>,
    Forward {}

interface SubSagaDefinition extends StepDefinition {
  readonly saga: Saga
  readonly input: (context: RequestContext) => unknown
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw {
  readonly saga?: unknown
  readonly input?: unknown
  readonly compensate?: unknown
}

const NAMES = optionNames<SubSagaOptions<unknown, object, unknown, object>>({
  saga: true,
  input: true,
  compensate: true,
})

export const SUB_SAGA: StepKind<SubSagaDefinition> = {
  name: 'saga',
  spans: { outcome: 'reply' },
  resolve(place, options: Raw) {
    const path = stepPath(place, options, NAMES)
    const { input } = options
    const saga = options.saga as Saga
    checkSaga(`${path}.saga`, saga)
    if (saga.branches !== undefined) {
      throw new TypeError(
        `${path}.saga: "${saga.name}" is a global transaction, whose code no other process has. Call it in a .step.`,
      )
    }
    if (typeof input !== 'function') throw invalidOption(`${path}.input`, input, 'a function')
    return Object.freeze({
      kind: SUB_SAGA,
      name: place.name,
      remote: true,
      transactional: false,
      pivot: false,
      compensates: compensates(path, saga, options.compensate, place.pivoted),
      timeoutMs: Number.POSITIVE_INFINITY,
      invoke: ONCE,
      compensate: ONCE,
      saga,
      input: input as SubSagaDefinition['input'],
    })
  },
  graphOf: ({ saga }) => ({ saga: saga.graphHash }),
  tiesOf: ({ saga }) => ({ saga }),
  withItem: (step, item) => ({ ...step, input: (context) => step.input({ ...context, ...item }) }),
  async prepare(step, prepared) {
    const context = await prepared.context()
    await CALLS[prepared.call.operation]?.(step, prepared, context)
    return undefined
  },
}

function compensates(path: string, saga: Saga, compensate: unknown, pivoted: boolean): boolean {
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
  const confirmed = saga.steps.find(({ confirm, each }) => (each?.item.confirm ?? confirm) !== undefined)
  if (compensate === true && confirmed !== undefined) {
    throw new TypeError(
      `${path}.compensate: "${saga.name}" cannot be undone once it has completed, for then its step "${confirmed.name}" is confirmed. Say 'none', or make that step one that is undone.`,
    )
  }
  return compensate === true
}

type CallOfChild = (step: SubSagaDefinition, prepared: PreparedCall, context: RequestContext) => Promise<void>

/** Calls by operation. There is no `confirm`, because the shape has none. */
const CALLS: Readonly<Partial<Record<Operation, CallOfChild>>> = { invoke: begin, compensate: undo }

async function begin(step: SubSagaDefinition, prepared: PreparedCall, context: RequestContext): Promise<void> {
  const [{ id }, ...earlier] = childKeys(prepared.row, step.name, step.saga, prepared.state.round ?? 0)
  const input = synchronous(`input of step "${step.name}"`, step.input(context), 'an input')
  await prepared.start(step.saga, { id, input, earlier }, { ...selfOf(step, prepared), operation: 'invoke' })
}

async function undo(step: SubSagaDefinition, prepared: PreparedCall): Promise<void> {
  const { row, state } = prepared
  const self = selfOf(step, prepared)
  const [newest, ...earlier] = childKeys(row, step.name, step.saga, state.invokedIn ?? 0)
  const first = earlier.at(-1) ?? newest
  const nothing: SagaReply = { ...addressOf({ ...self, operation: 'compensate' }), status: 'ok' }
  const lost: SagaReply = {
    ...nothing,
    status: 'failed',
    final: true,
    code: 'saga.child_missing',
    message: `the saga ${first.name}/${first.id} had completed and is not there any more: undo by hand what it did, then skip the step`,
  }
  const back = (mail: SagaReply): SagaPost => ({ to: { name: row.name, id: row.id }, mail })
  const isDone = state.result !== undefined
  const order = (to: SagaKey, missing: SagaPost): SagaPost => ({
    to,
    mail: { undo: true, of: self },
    otherwise: back(nothing),
    missing,
  })
  const toFirst = order(first, back(isDone ? lost : nothing))
  const later = [newest, ...earlier].slice(0, -1)
  prepared.post(later.reduceRight((missing, to) => order(to, missing), toFirst))
}

function selfOf({ name }: SubSagaDefinition, { row }: PreparedCall) {
  return { name: row.name, id: row.id, step: name, birth: row.birth }
}
