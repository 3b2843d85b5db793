/** Locks: leases with fencing tokens. A store comes from `concordat/locks/redis` or `concordat/locks/memory`. */
export {
  FenceRejected,
  LockBusy,
  LockLost,
  type LockLostReason,
  LockReentered,
  LockStoreRefused,
  LockStoreUnavailable,
  LocksClosed,
  LockTimeout,
} from './errors.ts'
export { createFence, type Fence, type FenceOptions } from './fence.ts'
export type {
  AcquireOptions,
  Lease,
  LeaseOptions,
  LeaseState,
  LockHolder,
  Locks,
  LocksHealth,
  ReleaseOutcome,
} from './lock.ts'
export { createLocks } from './locks.ts'
export type { LocksOptions } from './options.ts'
export type { AcquireReply, AcquireRequest, LockStore } from './store.ts'
