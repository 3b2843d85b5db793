/** A process whose event loop was blocked for so long within a minute renews no lease in time. */
export const BLOCKED_MS = 10_000
