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
