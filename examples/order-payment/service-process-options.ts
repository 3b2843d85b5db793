/** Options that all processes of a service share, in child processes and in containers. */

/** Outbox partitions. Fixed when the run creates its tables, so it does not depend on the number of processes. */
export const RELAYS = 4
/** Lease of a process, in ms. When it expires after a kill, other processes take over the work. */
export const LEASE_MS = 3_000
