/**
 * What a store of cluster state implements; `createMembership` and `createSharedState` are built on it.
 *
 * @module
 */

export type { ClusterStore, CommitRequest, JoinRequest, LogEntry, LogFollower } from './cluster-store.ts'
