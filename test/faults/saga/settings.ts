/** Long enough for a busy machine, short enough for a run of a minute. */
export const LEASE_MS = 2_000
export const RELAY_LEASE_MS = 1_500
/** A call of the log in PostgreSQL that takes longer is given up. */
export const CALL_MS = 5_000
export const POLL_MS = 100
/** Kafka gives the partitions of a process that is silent for so long to others. */
export const SESSION_MS = 5_000
/** A command without a reply is sent again after this. */
export const ASK_AGAIN_MS = 2_000
/** Once the last fault is healed a saga must end in each such time until none is left. */
export const ENDS_WITHIN_MS = 30_000
export const COORDINATORS = 3
/** Participants of each of the two services. */
export const PARTICIPANTS = 3
