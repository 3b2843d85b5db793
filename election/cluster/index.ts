/**
 * Cluster membership and shared state. A store comes from `concordat/cluster/redis` or `concordat/cluster/memory`; its contract is
 * `concordat/cluster/store`.
 *
 * @module
 */

export type { Member, Membership } from './membership/membership.ts'
export { createMembership } from './membership/membership-client.ts'
export type { SharedState, StateEntry } from './state/state.ts'
export { createSharedState } from './state/state-map.ts'
export { ClusterError } from './store/cluster-errors.ts'
