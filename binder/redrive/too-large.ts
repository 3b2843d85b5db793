/** A message that was as large as its channel allows is too large for it with the headers that a redrive adds. */

import type { EncodedMessage } from '../channel/message.ts'
import { REDRIVE_RUN } from '../consuming/failure/dead-letter.ts'
import { SendError, TransportError } from '../errors.ts'

/** The message without what a run adds: when it fails again, its letter does not say that the run had sent it back. */
export function withoutRun(message: EncodedMessage): EncodedMessage {
  const { [REDRIVE_RUN]: _, ...headers } = message.headers
  return { ...message, headers }
}

export function isTooLarge(error: unknown): error is SendError {
  return error instanceof SendError && error.cause instanceof TransportError && error.cause.kind === 'too_large'
}
