/**
 * Actions of operators through a coordinator (`coordinator.retry`), applied at once. The command line stores them in the row:
 * `operator/`.
 */

import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import type { OperatorAction } from '../machine/event.ts'
import { OPERATIONS, operationIn } from '../machine/operation.ts'
import { actedOn, type SagaState } from '../machine/state.ts'
import type { SagaKey } from '../store/store-types.ts'
import type { EventApplier } from './event-applier.ts'
import { type OperatorNote, pinned, whyRefused } from './operator-checks.ts'
import { requireStepResult } from './outcome-to-event.ts'
import type { CoordinatorRuntime } from './runtime.ts'

export class OperatorActions {
  readonly #runtime: CoordinatorRuntime
  readonly #applier: EventApplier

  constructor(runtime: CoordinatorRuntime, applier: EventApplier) {
    this.#runtime = runtime
    this.#applier = applier
  }

  /** @throws `saga.not_found`, `saga.action_refused` */
  async operate({ name, id }: SagaKey, asked: OperatorAction, { by, reason }: OperatorNote): Promise<void> {
    const seen = asked.do === 'cancel' ? undefined : await this.#runtime.loader.load({ name, id })
    const action = seen === undefined ? asked : pinned(asked, seen.row.state)
    for (;;) {
      const applied = await this.#applier.apply({ name, id }, { type: 'operator', action, by, reason })
      // False when another event came first, such as the deadline: then the timeline lacks the operator's name and reason.
      if (applied?.heard === true) return
      if (applied !== undefined) {
        throw new SagaError('saga.action_refused', {
          saga: name,
          id,
          action: action.do,
          why: whyRefused(applied.snapshot.row.state, action),
        })
      }
      const row = await this.#runtime.loader.unfound({ name, id })
      if (row === undefined) throw new SagaError('saga.not_found', { saga: name, id })
      if (row === 'started') continue
      const why = `it is ${row.state.status} on version ${row.version}, which is not loaded here`
      throw new SagaError('saga.action_refused', { saga: name, id, action: action.do, why })
    }
  }

  /**
   * Returns a skip with the result that an operator gives to the step, checked as a reply to this step would be.
   * @throws CodecError, `saga.payload_too_large`, SchemaError, `saga.action_refused`
   */
  async skipAction(key: SagaKey, given: unknown): Promise<OperatorAction> {
    const result = stored(`result of skip(${key.name}/${key.id})`, given, this.#runtime.maxPayloadBytes)
    if (result === undefined) return { do: 'skip' }
    // Another instance may have advanced the saga, so a cached copy may show an earlier step.
    const known = await this.#runtime.loader.load(key)
    if (known === undefined) return { do: 'skip', result }
    requireInvoke(key, known.row.state)
    return { do: 'skip', result, step: await requireStepResult(known.saga, known.row.state, result) }
  }
}

/** @throws `saga.action_refused` when the saga is stuck on an operation without a result */
function requireInvoke({ name, id }: SagaKey, { status, steps }: SagaState): void {
  const step = status === 'stuck' ? steps[actedOn(steps)] : undefined
  const operation = step && operationIn(step.status)
  if (operation === undefined || OPERATIONS[operation].hasResult) return
  const where = `it is stuck on ${operation} of step "${step?.step}", and only an invoke has a result`
  throw new SagaError('saga.action_refused', { saga: name, id, action: 'skip with a result', why: where })
}
