/** Long enough for a busy machine; short enough that a process frozen for some seconds has lost its lease. */
export const LEASE_MS = 2_000
export const RELAY_LEASE_MS = 1_500
export const POLL_MS = 250
/** A call of the log in PostgreSQL that takes longer is given up. */
export const CALL_MS = 5_000
/** Silence after which Kafka moves a process' partitions to others. */
export const SESSION_MS = 6_000
/** A command without a reply is sent again after this. */
export const ASK_AGAIN_MS = 3_000
export const LOCK_TTL_MS = 1_500
/** A statement, or the wait for a connection, that takes longer is given up. */
export const SQL_MS = 10_000
export const NOTIFY_EVERY_MS = 5

/** Processes of each role. */
export const INSTANCES = 2
/** Keys: what one of them orders is handled in its order. */
export const CUSTOMERS = 1_000
/** Orders that a publisher has in flight at a time. */
export const BATCH = 50
/** Orders that are sent and not done yet, at most. */
export const WINDOW = 1_500

/** Minimum time of a stretch of the orders, one for each fault: so the faults of a short run meet work too. */
export const STRETCH_MS = 4_500
/** Time without progress, although there is work, after which the run is given up. */
export const GIVE_UP_MS = 180_000
/** The same in a run with a built-in mistake, which may well have lost the awaited messages. */
export const GIVE_UP_BROKEN_MS = 45_000
/** Time after the last order until the outboxes are empty and no saga is left. */
export const SETTLES_WITHIN_MS = 120_000
/** The same when the run was given up: nothing moves any longer. */
export const GIVEN_UP_SETTLES_MS = 10_000
/** Time after that in which repeated messages still arrive. */
export const QUIET_MS = 5_000
/** Time after that until a clerk has got the lock again. Many times the lease, for a busy machine. */
export const LOCK_WITHIN_MS = 60_000
/**
 * Share of the orders from which on the first process of each role is no longer killed: its memory can be watched for
 * long.
 */
export const SPARED_FROM = 0.6
