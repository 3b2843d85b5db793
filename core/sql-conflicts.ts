import { hasCode } from './errors.ts'

/** Serialization failure, deadlock, lock not available: the same transaction succeeds once others are out of its way. */
export const CONFLICTS = ['40001', '40P01', '55P03'] as const

/** Whether other transactions were in the way of this one, by the SQLSTATE of the error itself. */
export function isConflict(error: unknown): boolean {
  return CONFLICTS.some((code) => hasCode(error, code))
}
