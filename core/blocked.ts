/**
 * Blocked for so long within a minute, a process renews no lease in time. In a file without imports of Node, since the
 * page of the console reads it.
 */
export const BLOCKED_MS = 10_000
