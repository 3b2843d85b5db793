/** What workers and judges have to agree on. */
export const TTL_MS = 1_000
export const STALL_MARGIN_MS = 20
/** What a lease leaves unused of its ttl: `locks/validity.ts`. */
export const MARGIN_MS = TTL_MS * 0.01 + 2 + STALL_MARGIN_MS
export const ANSWER_MS = 1_000
/** What the play waits for before it goes on, however slow the machine is. What is judged has bounds of its own. */
export const COMES_WITHIN_MS = 60_000
/** From the end of a fault to a grant: a ttl for the lease of one that is gone, a second for connections to come back. */
export const GRANT_WITHIN_MS = TTL_MS + 1_000
