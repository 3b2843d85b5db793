/**
 * Locks: leases with fencing tokens. A store comes from `concordat/locks/redis` or `concordat/locks/memory`.
 *
 * @module
 */
export { currentLease } from './current-lease.ts'
export { LockError } from './errors.ts'
export { createFence, type Fence } from './fence.ts'
export { fencedUpdate } from './fenced-update.ts'
export { LEASE_HEADERS, type LeaseToken, leaseFromHeaders, leaseHeaders } from './headers.ts'
export type { Lease, LeaseSet, LockInfo, Locks } from './lock.ts'
export { createLocks } from './locks.ts'
