import { ConcordatError } from '../../core/errors.ts'
import type { RevokedReason } from './election.ts'

/** Reason with which a term's signal aborts: this instance no longer leads. Stop, do not write. */
export class TermOver extends ConcordatError {
  readonly code = 'election.term_over' as const
  readonly retryable = true as const
  readonly role: string
  readonly term: number
  readonly reason: RevokedReason

  constructor(role: string, term: number, reason: RevokedReason, cause?: unknown) {
    super(
      `term ${term} of "${role}" is over (${reason}): stop its work, the next leader may have begun`,
      cause === undefined ? undefined : { cause },
    )
    this.role = role
    this.term = term
    this.reason = reason
  }
}

/** A candidate, a schedule or an observer was started after its `close()`. */
export class ElectionClosed extends ConcordatError {
  readonly code = 'election.closed' as const
  readonly retryable = false as const

  /** @param part what was closed. @param make which call makes another one */
  constructor(part: string, make: string) {
    super(`start of the ${part}: expected an open one, got one that is closed: make another with ${make}`)
  }
}

/** The reason with which a run's signal aborts after the job's `timeoutMs`. */
export class JobTimeout extends ConcordatError {
  readonly code = 'election.job_timeout' as const
  readonly retryable = true as const
  readonly job: string
  readonly timeoutMs: number

  constructor(job: string, timeoutMs: number) {
    super(
      `a run of job "${job}" has taken longer than ${timeoutMs} ms: honour run.signal, or raise timeoutMs; there is no other run until it returns`,
    )
    this.job = job
    this.timeoutMs = timeoutMs
  }
}
