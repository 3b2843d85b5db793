/**
 * Leader election on the lock contract: terms, revocation in time, hand-over, and jobs at given times.
 *
 * @module
 */

export { createElection } from './leader/campaign.ts'
export type {
  Election,
  ElectionEvent,
  ElectionHealth,
  ElectionState,
  ElectionStatus,
  LeaderInfo,
  RevokedReason,
  Term,
} from './leader/election.ts'
export { ElectionError, type ElectionErrors } from './leader/errors.ts'
export {
  createObserver,
  type LeaderChange,
  type Observer,
  type ObserverHealth,
  type ObserverOptions,
  type SeenLeader,
} from './leader/observer.ts'
export type { ElectionOptions } from './leader/options.ts'
export { createSchedule } from './schedule/job-schedule.ts'
export type {
  JobOptions,
  JobRun,
  JobStatus,
  Schedule,
  ScheduledJob,
  ScheduleHealth,
  ScheduleOptions,
} from './schedule/schedule.ts'
