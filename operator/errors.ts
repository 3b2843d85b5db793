import { ConcordatError } from '../core/errors.ts'

/**
 * An action was performed, but the database did not confirm the second line of `operator_audit` with its outcome. The first line,
 * with operator and reason, exists. Do not repeat the action.
 */
export class OperatorOutcomeNotKept extends ConcordatError {
  readonly code = 'operate.outcome_not_kept' as const
  readonly retryable = false as const
  readonly action: string
  /** Same as `AuditLine.target`. */
  readonly target: string
  /** Outcome that the line would have had. */
  readonly outcome: string
  /** Result that the call would have returned. */
  readonly result: unknown

  constructor(deed: { readonly action: string; readonly target: string }, fields: Outcome) {
    super(
      `${deed.action} of ${deed.target} was done (${fields.outcome}), but the line with its outcome is missing in ` +
        'operator_audit: do not do it again, and keep the outcome elsewhere',
      { cause: fields.cause },
    )
    this.action = deed.action
    this.target = deed.target
    this.outcome = fields.outcome
    this.result = fields.result
  }
}

interface Outcome {
  readonly outcome: string
  readonly result: unknown
  readonly cause: unknown
}
