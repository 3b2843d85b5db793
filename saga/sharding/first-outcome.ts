import { hasCode } from '../../core/errors.ts'
import { checkOutcomeOptions, type OutcomeOptions } from '../coordinator/outcome-waiters.ts'
import type { SagaOutcome, SagaRun } from '../coordinator/saga-run.ts'

/**
 * Waits on every shard for a saga that has not begun, because a sub-saga begins on the shard of its parent, whatever its own id.
 * @param runs the saga on each shard
 * @throws the error of a shard; `saga.not_found` when no shard has the saga
 */
export async function firstOutcome<Results extends object>(
  runs: ReadonlyArray<SagaRun<Results>>,
  options: OutcomeOptions = {},
): Promise<SagaOutcome<Results>> {
  checkOutcomeOptions('outcome', options)
  const found = new AbortController()
  const signal = options.signal === undefined ? found.signal : AbortSignal.any([options.signal, found.signal])
  let without = 0
  const unlessElsewhere = (error: unknown): Promise<never> => {
    // Only the last shard may report this: the saga may have begun on another one.
    if (hasCode(error, 'saga.not_found') && ++without < runs.length) return new Promise(() => {})
    return Promise.reject(error)
  }
  try {
    return await Promise.race(runs.map((run) => run.outcome({ ...options, signal }).catch(unlessElsewhere)))
  } finally {
    found.abort()
  }
}
