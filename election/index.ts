/** Leader election on the lock contract: terms, revocation in time, hand-over. */
export { createElection } from './campaign.ts'
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
export { TermOver } from './errors.ts'
export type { ElectionOptions } from './options.ts'
