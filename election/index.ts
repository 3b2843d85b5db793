/**
 * Leader election on the lock contract: terms, revocation in time, hand-over, and jobs at given times.
 *
 * @module
 */

export { createElection } from './leader/campaign.ts'
export type { Election, Term } from './leader/election.ts'
export { ElectionError } from './leader/errors.ts'
export { createObserver, type Observer } from './leader/observer.ts'
export { createSchedule } from './schedule/job-schedule.ts'
export type { Schedule } from './schedule/schedule-types.ts'
