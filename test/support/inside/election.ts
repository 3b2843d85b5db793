/** Names of `election/` that only tests write: no subpath exports them. */
// oxlint-disable no-restricted-imports -- users need not write these names, tests do

export type {
  Member,
  MembershipEvent,
  Presence,
  PresenceEvent,
} from '../../../election/cluster/membership/membership.ts'
export type { MembershipOptions } from '../../../election/cluster/membership/membership-options.ts'
export type { PostgresStateStoreOptions } from '../../../election/cluster/postgres/postgres-state-store.ts'
export type { RedisStateStoreOptions } from '../../../election/cluster/redis/redis-state-store.ts'
export type { StateEntry, StateEvent, StateOperation } from '../../../election/cluster/state/state.ts'
export type { SharedStateOptions } from '../../../election/cluster/state/state-options.ts'
export type {
  BeatReply,
  CommitOperation,
  CommitReply,
  Generation,
} from '../../../election/cluster/store/cluster-store.ts'
export type { ElectionEvent } from '../../../election/leader/election.ts'
export type { LeaderChange, ObserverOptions } from '../../../election/leader/observer.ts'
export type { ElectionOptions } from '../../../election/leader/options.ts'
export type { JobRun, ScheduledJob, ScheduleOptions } from '../../../election/schedule/schedule-types.ts'
