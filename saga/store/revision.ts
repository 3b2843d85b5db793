/**
 * Revisions of a saga's row. Each is higher than the one before by a random distance, so that none comes twice: a failover may lose
 * revision n, and counted by one, another instance's next write would be n again, and a late write of whoever saw the first would fit it.
 */

/** A saga can be written 67 million times on average before its revision leaves the whole numbers of a float. */
const LONGEST_STEP = 2 ** 28

/** The revision of a write that replaces this one; 0: there is no row yet. */
export function nextRevision(previous: number): number {
  return previous + 1 + Math.floor(Math.random() * LONGEST_STEP)
}

/** The same as an SQL expression, of a row with the column `revision`. */
export function nextRevisionSql(column = 'revision'): string {
  return `${column} + 1 + floor(random() * ${LONGEST_STEP})::bigint`
}
