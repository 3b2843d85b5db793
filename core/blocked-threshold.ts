/** If the event loop was blocked this long within a minute, the process cannot renew its leases in time. */
export const BLOCKED_MS = 10_000
