import { ConcordatError } from '../../../core/errors.ts'

/** A batch becomes more than it may, or one of its records takes more. */
export class BatchTooLarge extends ConcordatError {
  readonly code = 'binder.kafka.batch_too_large' as const
  readonly retryable = false as const

  constructor(maxBytes: number, cause?: unknown) {
    super(`it becomes more than ${maxBytes} bytes: raise maxBatchBytes of the transport if it may, or delete it`, {
      cause,
    })
  }
}
