import { counted } from '../../../core/counted-noun.ts'
import { show } from '../../../core/errors.ts'
import type { BatchOutcome } from '../../bindings/handler-types.ts'
import { BinderError } from '../../errors.ts'

/**
 * Returns the result of a batch handler as one outcome per message; `undefined`: all were handled.
 * @throws `binder.batch_outcomes`
 */
export function checkOutcomes(
  binding: string,
  result: unknown,
  expected: number,
): ReadonlyArray<BatchOutcome> | undefined {
  if (result === undefined) return undefined
  if (!Array.isArray(result))
    throw new BinderError('binder.batch_outcomes', { binding, returned: show(result), expected })
  if (result.length !== expected)
    throw new BinderError('binder.batch_outcomes', { binding, returned: counted(result.length, 'outcome'), expected })
  for (const outcome of result as readonly unknown[])
    if (!isOutcome(outcome))
      throw new BinderError('binder.batch_outcomes', { binding, returned: show(outcome), expected })
  return result as ReadonlyArray<BatchOutcome>
}

export function isOutcome(value: unknown): value is BatchOutcome {
  if (typeof value !== 'object' || value === null || !('status' in value)) return false
  return value.status === 'fulfilled' || value.status === 'rejected'
}
