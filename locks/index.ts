/**
 * Locks: leases with fencing tokens. A store comes from `concordat/locks/redis` or `concordat/locks/memory`.
 *
 * @module
 */
export { currentLease } from './current-lease.ts'
export { LockError, type LockErrors, type LockLostReason } from './errors.ts'
export { createFence, type Fence, type FenceOptions } from './fence.ts'
export { type FencedUpdate, fencedUpdate } from './fenced-update.ts'
export { LEASE_HEADERS, type LeaseToken, leaseFromHeaders, leaseHeaders } from './headers.ts'
export type {
  AcquireOptions,
  ForcedRelease,
  ForceOptions,
  Lease,
  LeaseOptions,
  LeaseSet,
  LeaseState,
  ListOptions,
  LockHolder,
  LockInfo,
  LockMode,
  Locks,
  LocksHealth,
  LockWaiter,
  ReleaseOutcome,
} from './lock.ts'
export { createLocks } from './locks.ts'
export type { LocksOptions } from './options.ts'
