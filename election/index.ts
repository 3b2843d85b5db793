/** Leader election on the lock contract: terms, revocation in time, hand-over. Cluster membership and shared state. */
export { createElection } from './campaign.ts'
export {
  type Closable,
  type CloseOnSignalsOptions,
  closeOnSignals,
  type SignalHandling,
} from './close-on-signals.ts'
export {
  ClusterClosed,
  ClusterDataInvalid,
  ClusterDataTooLarge,
  ClusterStoreRefused,
  ClusterStoreUnavailable,
  type EvictedReason,
  MemberEvicted,
  MemberIsolated,
  StateConflict,
} from './cluster-errors.ts'
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
export type {
  Election,
  ElectionEvent,
  ElectionHealth,
  ElectionState,
  ElectionStatus,
  LeaderInfo,
  RevokedReason,
  Term,
} from './election.ts'
export { JobTimeout, TermOver } from './errors.ts'
export { createSchedule } from './job-schedule.ts'
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
} from './membership.ts'
export { createMembership } from './membership-client.ts'
export type { MembershipOptions } from './membership-options.ts'
export {
  createObserver,
  type LeaderChange,
  type Observer,
  type ObserverHealth,
  type ObserverOptions,
  type SeenLeader,
} from './observer.ts'
export type { ElectionOptions } from './options.ts'
export type {
  JobOptions,
  JobRun,
  JobStatus,
  Schedule,
  ScheduledJob,
  ScheduleHealth,
  ScheduleOptions,
} from './schedule.ts'
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
} from './state.ts'
export { createSharedState } from './state-map.ts'
export type { SharedStateOptions } from './state-options.ts'
