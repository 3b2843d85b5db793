import { type ErrorClass, type ErrorOf, errorClass } from '../../core/define-error-class.ts'
import type { RevokedReason } from './election.ts'

/** Fields of an `ElectionError`, by code. */
export interface ElectionErrors {
  /** Reason with which a term's signal aborts: this instance no longer leads. Stop, do not write. */
  'election.term_over': { role: string; term: number; reason: RevokedReason }
  /** A candidate, a schedule or an observer was started after its `close()`. */
  'election.closed': { part: string; make: string }
  /** Reason with which a run's signal aborts after the job's `timeoutMs`. */
  'election.job_timeout': { job: string; timeoutMs: number }
}

/** Error of elections and schedules. Its fields depend on its `code`: see `ElectionErrors`. */
export type ElectionError<Code extends keyof ElectionErrors = keyof ElectionErrors> = ErrorOf<ElectionErrors, Code>

/** Error of elections and schedules. Its fields depend on its `code`: see `ElectionErrors`. */
export const ElectionError: ErrorClass<ElectionErrors> = errorClass<ElectionErrors>(
  'ElectionError',
  {
    'election.term_over': ({ role, term, reason }) =>
      `term ${term} of "${role}" is over (${reason}): stop its work, the next leader may have begun`,
    'election.closed': ({ part, make }) =>
      `start of the ${part}: expected an open one, got one that is closed: make another with ${make}`,
    'election.job_timeout': ({ job, timeoutMs }) =>
      `a run of job "${job}" has taken longer than ${timeoutMs} ms: honour run.signal, or raise timeoutMs; there is no other run until it returns`,
  },
  ['election.term_over', 'election.job_timeout'],
)
