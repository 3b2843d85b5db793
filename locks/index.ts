/**
 * Locks: leases with fencing tokens; and one-time tokens, redeemed exactly once, for links in emails, invitations and
 * confirmations. Their stores come from `concordat/redis`, `concordat/postgres` or, inside one process, `concordat/memory`.
 *
 * @module
 */

export { createLocks } from './create-locks.ts'
export { currentLease } from './current-lease.ts'
export { LockError } from './errors.ts'
export { createFence, type Fence } from './fence.ts'
export { fencedUpdate } from './fenced-update.ts'
export { LEASE_HEADERS, type LeaseToken, leaseFromHeaders, leaseHeaders } from './headers.ts'
export type { Lease, LeaseSet, LockInfo, Locks } from './lock.ts'
export { TokenError } from './one-time-tokens/errors.ts'
export type { TokenRecord, TokenStore } from './one-time-tokens/store.ts'
export { createTokens, type Tokens } from './one-time-tokens/tokens.ts'
