/**
 * Cluster membership and shared state. A store comes from `concordat/redis`, `concordat/postgres` or, inside one process,
 * `concordat/memory`; its contract is `ClusterStore` of `concordat/extension`.
 *
 * @module
 */

export { createMembership } from './membership/create-membership.ts'
export type { Member, Membership } from './membership/membership.ts'
export type { SharedState, StateEntry } from './state/state.ts'
export { createSharedState } from './state/state-map.ts'
export { ClusterError } from './store/cluster-errors.ts'
