import { ConcordatError } from 'concordat/core'

/** An operator's call needs a transport, and was given none that supports it. Nothing was changed. */
export class OperatorTransportMissing extends ConcordatError {
  readonly code = 'operate.transport_missing' as const
  readonly retryable = false as const
}

/** An operator's call needs locks or a cluster store, was given none, and the database has no tables of one. */
export class OperatorStoreMissing extends ConcordatError {
  readonly code = 'operate.store_missing' as const
  readonly retryable = false as const
}

/** The dead letters before this page are too many, or too large, to read past. Nothing was changed. */
export class OperatorLettersOutOfReach extends ConcordatError {
  readonly code = 'operate.letters_out_of_reach' as const
  readonly retryable = false as const
  readonly channel: string
  readonly group: string
  /** Number of letters read. */
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
