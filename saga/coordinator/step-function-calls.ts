/** Calls the function of a local step once: builds its context, limits its time, and checks its result. */

import { copyData } from '../../core/copy-data.ts'
import { isOf } from '../../core/define-error-class.ts'
import { toError } from '../../core/errors.ts'
import { withFields } from '../../core/logger.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { readable } from '../../core/thrown-values.ts'
import { sendingThrough } from '../../outbox/transaction-with-send.ts'
import { seenUntil } from '../definition/definition-with-added-steps.ts'
import type { RunContext } from '../definition/kinds/kind.ts'
import { kindOf } from '../definition/kinds/kind.ts'
import type { StepDefinition } from '../definition/saga-definition-types.ts'
import { stepKey } from '../definition/saga-id.ts'
import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import type { Operation } from '../machine/operation.ts'
import type { Call, StepState } from '../machine/state.ts'
import { inSaga } from '../wire/current-saga.ts'
import type { HeldLease, Leases } from './leases.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { isUnreadable, resultsOf } from './outcome-to-event.ts'
import { readInput } from './read-stored-input.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Makes the calls of local steps. */
export class StepFunctionCalls {
  readonly #runtime: CoordinatorRuntime
  readonly #leases: Leases

  constructor(runtime: CoordinatorRuntime, leases: Leases) {
    this.#runtime = runtime
    this.#leases = leases
  }

  /**
   * Runs the function of a local call.
   * @param tx passed to the function of a transactional step
   * @returns the result as the database will return it
   * @throws the error of the function; `saga.step_timeout`; `saga.ownership_lost` without a call when the lease may have expired;
   * the reason of
   *   the lease's signal when it aborts first
   */
  make(snapshot: LoadedSaga, call: Call, lease: HeldLease, tx?: SqlTransaction): Promise<unknown> {
    const { telemetry } = this.#runtime
    if (telemetry === undefined) return this.#call(snapshot, call, lease, tx)
    return telemetry.call(snapshot.row, call, () => this.#call(snapshot, call, lease, tx))
  }

  async #call(snapshot: LoadedSaga, call: Call, lease: HeldLease, tx: SqlTransaction | undefined): Promise<unknown> {
    const { clock, outbox, stepCalls, maxPayloadBytes } = this.#runtime
    const { signal } = lease
    const step = snapshot.saga.steps[call.index] as StepDefinition
    const { name, id } = snapshot.row
    const key = stepKey(name, id, call.step)
    // Composed by hand, because `AbortSignal.any` costs more than the rest of a small step.
    const limit = new AbortController()
    const stopped = Promise.withResolvers<never>()
    stopped.promise.catch(() => {})
    const stop = (reason: Error): void => {
      limit.abort(reason)
      stopped.reject(reason)
    }
    const onAbort = (): void => stop(toError(signal.reason))
    const cancel = clock.setTimer(step.timeoutMs, () =>
      stop(new SagaError('saga.step_timeout', { key, timeoutMs: step.timeoutMs })),
    )
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    try {
      // A schema may never answer.
      const read = await Promise.race([contextOf(this.#runtime, snapshot, call, key, limit.signal), stopped.promise])
      const context = { ...read, ...(tx !== undefined && { tx: sendingThrough(outbox, tx, OUTBOX) }) }
      const scope = { saga: name, sagaId: id, step: call.step, operation: call.operation, key }
      this.#leases.requireCertain(lease)
      const work = inSaga(scope, async () => run(step, call.operation, context)).catch(throwAsOutcome)
      stepCalls.track(name, call, step.timeoutMs, work)
      // After an abort the function may still run; its result is ignored.
      return storedResult(step, `result of ${key}`, await Promise.race([work, stopped.promise]), maxPayloadBytes)
    } catch (thrown) {
      throw readable(thrown)
    } finally {
      cancel()
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** Wraps errors of this package about another saga that a step throws, because they are outcomes of the step. */
function throwAsOutcome(thrown: unknown): never {
  if (!isNotOurs(thrown)) throw thrown
  const { message, code, retryable } = thrown as SagaError
  throw Object.assign(new Error(message, { cause: thrown }), { code, retryable })
}

const OUTBOX = 'createCoordinator({ outbox })'

/** @throws `saga.payload_too_large`, CodecError */
function storedResult(step: StepDefinition, subject: string, result: unknown, maxBytes: number): unknown {
  try {
    return stored(subject, result, maxBytes)
  } catch (error) {
    const instead = kindOf(step).unstorable?.(step, error)
    if (instead === undefined) throw error
    return stored(subject, instead, maxBytes)
  }
}

/** @throws TypeError for a step that does not run in this process */
function run(step: StepDefinition, operation: Operation, context: RunContext): unknown {
  const kind = kindOf(step)
  if (kind.run === undefined) throw new TypeError(`step "${step.name}": a ${kind.name} is not called by a coordinator`)
  return kind.run(step, operation, context)
}

async function contextOf(
  { runningTransactions, stepLogger }: CoordinatorRuntime,
  { saga, row }: LoadedSaga,
  call: Call,
  key: string,
  signal: AbortSignal,
): Promise<RunContext> {
  const { state } = row
  const { result, reserved } = state.steps[call.index] as StepState
  return {
    saga: row.name,
    sagaId: row.id,
    step: call.step,
    key,
    birth: row.birth,
    input: await readInput(saga, row),
    results: await resultsOf(saga, row, state, seenUntil(saga, call.index)),
    attempt: call.attempt,
    signal,
    log: withFields(stepLogger, { saga: row.name, id: row.id, step: call.step }),
    result: copyData(result),
    tried: reserved === true,
    body: runningTransactions.get(row),
    failure: copyData(state.failure) ?? { step: call.step, code: 'saga.unknown', message: 'no failure recorded' },
  }
}

/** True for a loss of ownership: the attempt's result is not written, and another coordinator continues. */
export function isOwnershipLost(error: unknown): boolean {
  return isOf(error, SagaError, 'saga.ownership_lost')
}

/** True when the step was not called because its saga has another owner; this is no outcome of the step. */
export function isNotOurs(error: unknown): boolean {
  return isOwnershipLost(error) || isUnreadable(error)
}
