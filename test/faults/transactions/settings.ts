export const LEASE_MS = 2_000
export const RELAY_LEASE_MS = 1_500
/** A call of the log that takes longer is given up. */
export const CALL_MS = 5_000
export const POLL_MS = 100
/** A command without an answer is sent again after this. */
export const ASK_AGAIN_MS = 2_000
/** Time for which a participant of XA or undo waits for a row locked by another transaction. */
export const LOCK_TIMEOUT_MS = 800
/** Time in which at least one transaction must end after the last fault, until none is left. */
export const ENDS_WITHIN_MS = 40_000
/** Processes of each of the three services. */
export const EACH = 2
