/**
 * Leader election based on locks: terms, timely revocation, hand-over, and scheduled jobs.
 *
 * @module
 */

export { createElection } from './leader/campaign.ts'
export type { Election, Term } from './leader/election.ts'
export { ElectionError } from './leader/errors.ts'
export { createObserver, type Observer } from './leader/observer.ts'
export { createSchedule } from './schedule/job-schedule.ts'
export type { Schedule } from './schedule/schedule-types.ts'
