import { ConcordatError } from '../core/errors.ts'
import type { RevokedReason } from './election.ts'

/** The reason with which a term's signal aborts: this instance does not lead any more. Stop, do not write. */
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
