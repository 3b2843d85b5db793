import { hasCode } from './errors.ts'

/** Serialization failure, deadlock, lock not available: the same transaction succeeds once the others are finished. */
export const CONFLICTS = ['40001', '40P01', '55P03'] as const

/** Tells by the SQLSTATE of the error itself whether other transactions were in conflict with this one. */
export function isConflict(error: unknown): boolean {
  return CONFLICTS.some((code) => hasCode(error, code))
}
