/** Long enough for a busy machine, short enough for a run of a minute. */
export const LEASE_MS = 2_000
export const RELAY_LEASE_MS = 1_500
/** A call of the log in PostgreSQL that takes longer is given up. */
export const CALL_MS = 5_000
export const POLL_MS = 100
/** Silence after which Kafka moves a process' partitions to others. */
export const SESSION_MS = 5_000
/** A command without a reply is sent again after this. */
export const ASK_AGAIN_MS = 2_000
/** Time in which at least one saga must end after the last fault, until none is left. */
export const ENDS_WITHIN_MS = 30_000
export const COORDINATORS = 3
/** Participants of each of the two services. */
export const PARTICIPANTS = 3
