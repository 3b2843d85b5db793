/** Long enough for a busy machine, short enough for a run of a minute. */
export const LEASE_MS = 2_000
export const RELAY_LEASE_MS = 1_500
export const POLL_MS = 100
/** A command without a reply is sent again after this. */
export const ASK_AGAIN_MS = 2_000
/** All sagas must have ended so long after the last fault was healed. */
export const ENDS_WITHIN_MS = 30_000
export const COORDINATORS = 3
/** Of each of the two services. */
export const PARTICIPANTS = 3
