import { ConcordatError } from '../core/errors.ts'

/** An operator's call needs a transport, and was given none that can do it. Nothing was changed. */
export class OperatorTransportMissing extends ConcordatError {
  readonly code = 'operate.transport_missing' as const
  readonly retryable = false as const
}

/** An operator's call needs locks or a cluster store, was given none, and the database has no tables of one. */
export class OperatorStoreMissing extends ConcordatError {
  readonly code = 'operate.store_missing' as const
  readonly retryable = false as const
}

/**
 * An action was done, and the database did not confirm the second line of `operator_audit`, which says what became of it. The
 * first line, with who and why, is there. Do not repeat the action.
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

/** The dead letters before this page are too many, or too large, to read past. Nothing was changed. */
export class OperatorLettersOutOfReach extends ConcordatError {
  readonly code = 'operate.letters_out_of_reach' as const
  readonly retryable = false as const
  readonly channel: string
  readonly group: string
  /** How many were looked at. */
  readonly lookedAt: number

  constructor({ channel, group }: { readonly channel: string; readonly group: string }, lookedAt: number) {
    super(
      `dead letters of ${channel}.${group}: those behind the first ${lookedAt} are out of reach of a look: redrive or drop some first, ` +
        'or look at more bytes (`lookAtBytes`)',
    )
    this.channel = channel
    this.group = group
    this.lookedAt = lookedAt
  }
}

interface Outcome {
  readonly outcome: string
  readonly result: unknown
  readonly cause: unknown
}
