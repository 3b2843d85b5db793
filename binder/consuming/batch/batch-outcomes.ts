import { counted } from '../../../core/counted.ts'
import { show } from '../../../core/errors.ts'
import type { BatchOutcome } from '../../bindings/handler-contexts.ts'
import { BatchOutcomesInvalid } from '../../errors.ts'

/**
 * What a batch handler returned, as one outcome per message; `undefined`: all were handled.
 * @throws BatchOutcomesInvalid
 */
export function checkOutcomes(
  binding: string,
  result: unknown,
  expected: number,
): ReadonlyArray<BatchOutcome> | undefined {
  if (result === undefined) return undefined
  if (!Array.isArray(result)) throw new BatchOutcomesInvalid(binding, show(result), expected)
  if (result.length !== expected) throw new BatchOutcomesInvalid(binding, counted(result.length, 'outcome'), expected)
  for (const outcome of result as readonly unknown[])
    if (!isOutcome(outcome)) throw new BatchOutcomesInvalid(binding, show(outcome), expected)
  return result as ReadonlyArray<BatchOutcome>
}

export function isOutcome(value: unknown): value is BatchOutcome {
  if (typeof value !== 'object' || value === null || !('status' in value)) return false
  return value.status === 'fulfilled' || value.status === 'rejected'
}
