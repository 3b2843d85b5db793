/**
 * Revisions of a saga's row. Each is higher than the previous one by a random distance, so that no number is used twice: a
 * failover may lose revision n. With steps of one, another instance's next write would be n again, and a late write planned on
 * the lost n would fit it.
 */

/**
 * Largest step. A saga can be written 67 million times on average before its revision exceeds the exact integers of a float64.
 */
const LONGEST_STEP = 2 ** 28

/** Returns the revision of a write that replaces `previous`; 0: there is no row yet. */
export function nextRevision(previous: number): number {
  return previous + 1 + Math.floor(Math.random() * LONGEST_STEP)
}

/** Returns the SQL expression for the next revision. */
export function nextRevisionSql(column = 'revision'): string {
  return `${column} + 1 + floor(random() * ${LONGEST_STEP})::bigint`
}
