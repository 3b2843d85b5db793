/**
 * Cluster membership and shared state. A store comes from `concordat/cluster/redis` or `concordat/cluster/memory`; its contract is
 * `concordat/cluster/store`.
 *
 * @module
 */

export type {
  Member,
  MemberMeta,
  Membership,
  MembershipEvent,
  MembershipHealth,
  MembershipState,
  MembershipStatus,
  MembershipView,
  Presence,
  PresenceEvent,
} from './membership/membership.ts'
export { createMembership } from './membership/membership-client.ts'
export type { MembershipOptions } from './membership/membership-options.ts'
export type {
  CallOptions,
  Committed,
  PutOptions,
  SharedState,
  SnapshotReason,
  StateEntry,
  StateEvent,
  StateHealth,
  StateMirror,
  StateOperation,
  StateVersion,
  StateView,
  UpdateOptions,
  Watch,
  WatchOptions,
  WriteOptions,
} from './state/state.ts'
export { createSharedState } from './state/state-map.ts'
export type { SharedStateOptions } from './state/state-options.ts'
export { ClusterError, type ClusterErrors, type EvictedReason } from './store/cluster-errors.ts'
export type { Generation } from './store/cluster-store.ts'
