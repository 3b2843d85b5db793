/** One call of a local step's function: its context, its time limit, its transaction. */
import type { Clock } from '../core/clock.ts'
import { toError } from '../core/errors.ts'
import { type Logger, withFields } from '../core/logger.ts'
import { validate } from '../core/schema.ts'
import type { SqlTransaction } from '../core/sql.ts'
import { inSaga } from './context.ts'
import type { Snapshot } from './engine.ts'
import { OwnershipLost, StepTimeout } from './errors.ts'
import { stepKey } from './graph.ts'
import { stored } from './json.ts'
import { resultsOf } from './outcome.ts'
import type { LocalDefinition } from './resolve.ts'
import type { Call, StepState } from './state.ts'
import type { CompensationContext } from './step-options.ts'

export interface AttemptHost {
  readonly clock: Clock
  readonly maxPayloadBytes: number
  readonly logger: Logger
}

/**
 * Runs the function of a local call.
 * @param tx given to the function when its step is transactional
 * @returns the result as it will come back from the database
 * @throws what the function throws; StepTimeout; the signal's reason when `signal` aborts first
 */
export async function attempt(
  host: AttemptHost,
  snapshot: Snapshot,
  call: Call,
  signal: AbortSignal,
  tx?: SqlTransaction,
): Promise<unknown> {
  const step = snapshot.saga.steps[call.index] as LocalDefinition
  const { name, id } = snapshot.row
  const key = stepKey(name, id, call.step)
  const limit = new AbortController()
  const cancel = host.clock.setTimer(step.timeoutMs, () => limit.abort(new StepTimeout(key, step.timeoutMs)))
  try {
    const both = AbortSignal.any([signal, limit.signal])
    const context = { ...(await contextOf(host, snapshot, call, key, both)), ...(tx !== undefined && { tx }) }
    const scope = { saga: name, sagaId: id, step: call.step, operation: call.operation, key }
    const work = inSaga(scope, async () => (call.operation === 'invoke' ? step.run(context) : step.undo?.(context)))
    return stored(`result of ${key}`, await untilAborted(work, both), host.maxPayloadBytes)
  } finally {
    cancel()
  }
}

async function contextOf(
  host: AttemptHost,
  { saga, row }: Snapshot,
  call: Call,
  key: string,
  signal: AbortSignal,
): Promise<CompensationContext> {
  const { state } = row
  const { result } = state.steps[call.index] as StepState
  return {
    saga: row.name,
    sagaId: row.id,
    step: call.step,
    key,
    input: await validate(`input of ${row.name}`, saga.input, row.input),
    results: await resultsOf(saga, state, saga.steps[call.index]?.group ?? call.index),
    attempt: call.attempt,
    signal,
    log: withFields(host.logger, { saga: row.name, id: row.id, step: call.step }),
    result,
    failure: state.failure ?? { step: call.step, code: 'saga.unknown', message: 'no failure recorded' },
  }
}

/** Settles with `work`, or rejects as soon as `signal` aborts; `work` may then still run, but nobody listens. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {})
  let onAbort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(toError(signal.reason))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** True for the end of ownership: what the attempt did is not written, another coordinator goes on. */
export function isOwnershipLost(error: unknown): boolean {
  return error instanceof OwnershipLost
}
