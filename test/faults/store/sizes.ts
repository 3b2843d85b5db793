/** Sizes that workers and judges share. */
export const TTL_MS = 1_000
export const STALL_MARGIN_MS = 20
/** Part of its ttl that a lease leaves unused: `locks/validity.ts`. */
export const MARGIN_MS = TTL_MS * 0.01 + 2 + STALL_MARGIN_MS
export const ANSWER_MS = 1_000
/** Time that the play waits before it fails, however slow the machine is. Judgements have limits of their own. */
export const COMES_WITHIN_MS = 60_000
/**
 * Time from the end of a fault to a grant: a ttl for the lease of a lost holder, a second for connections to come back.
 */
export const GRANT_WITHIN_MS = TTL_MS + 1_000
