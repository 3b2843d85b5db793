import { isRetryable } from '../../core/errors.ts'

/** Ends one pass of a run, which takes its place again. */
export class LostSubscription extends Error {
  constructor(cause: unknown) {
    super('the subscription was lost', { cause })
  }
}

/** @throws LostSubscription for what another try may mend, any other error as it is */
export function lost(error: unknown): never {
  throw isRetryable(error) ? new LostSubscription(error) : error
}
