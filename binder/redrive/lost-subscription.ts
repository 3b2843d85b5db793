import { isRetryable } from '../../core/errors.ts'

/** Ends one pass of a run, which then subscribes again. */
export class LostSubscription extends Error {
  constructor(cause: unknown) {
    super('the subscription was lost', { cause })
  }
}

/** @throws LostSubscription for an error that may not occur at the next attempt, any other error unchanged */
export function lost(error: unknown): never {
  throw isRetryable(error) ? new LostSubscription(error) : error
}
