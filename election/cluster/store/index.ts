/**
 * What a store of cluster state implements; `createMembership` and `createSharedState` are built on it.
 *
 * @module
 */

export type {
  BeatReply,
  ChangesReply,
  ClusterStore,
  CommitOperation,
  CommitReply,
  CommitRequest,
  DescribeRequest,
  Generation,
  JoinReply,
  JoinRequest,
  LogChange,
  LogEntry,
  LogFollower,
  LogId,
  MemberRecord,
  MembersReading,
  MemberTransition,
  StateId,
  StateReading,
  StateRecord,
} from './cluster-store.ts'
