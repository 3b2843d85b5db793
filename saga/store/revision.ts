/**
 * Revisions of a saga's row. Each is higher than the one before by a random distance, so that no number is used twice: a failover may
 * lose revision n. Counted by one, another instance's next write would be n again, and a late write planned on the lost n would fit it.
 */

/** With it, a saga can be written 67 million times on average before its revision exceeds the exact integers of a float64. */
const LONGEST_STEP = 2 ** 28

/** Revision for a write that replaces `previous`; 0: there is no row yet. */
export function nextRevision(previous: number): number {
  return previous + 1 + Math.floor(Math.random() * LONGEST_STEP)
}

/** SQL expression of the same. */
export function nextRevisionSql(column = 'revision'): string {
  return `${column} + 1 + floor(random() * ${LONGEST_STEP})::bigint`
}
