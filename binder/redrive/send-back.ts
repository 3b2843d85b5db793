/** Sends a dead letter back, with as few additional headers as necessary. */
import type { EncodedMessage } from '../channel/message.ts'
import { headersBefore, REDRIVE_RUN } from '../consuming/failure/dead-letter-message.ts'
import { toGroup } from '../consuming/failure/retry-destination.ts'
import { SendError, TransportError } from '../errors.ts'
import type { ResolvedRedrive } from './redrive.ts'

/** Returns the message as it was before it failed, marked with the run. */
export function asBefore(letter: EncodedMessage, { channel, id }: ResolvedRedrive): EncodedMessage {
  return { ...letter, destination: channel.name, headers: { ...headersBefore(letter.headers), [REDRIVE_RUN]: id } }
}

/**
 * Resolves when the message is confirmed at its new place. A message of the maximum size is too large with the headers that a run
 * adds, and is sent without them: if it fails again, its letter does not show that the run had sent it back. Without the number
 * of attempts, which is omitted last, its group counts it as tried once.
 * @param publish rejects with SendError
 * @returns why it cannot be sent back: it is too large for its channel
 */
export async function sendBack(
  message: EncodedMessage,
  { to, group }: ResolvedRedrive,
  publish: (message: EncodedMessage) => Promise<void>,
): Promise<SendError | undefined> {
  const { [REDRIVE_RUN]: _, ...headers } = message.headers
  const unmarked = { ...message, headers }
  const untried = toGroup(unmarked, group)
  const ways = to === 'group' ? [toGroup(message, group), untried, { ...untried, headers }] : [message, unmarked]
  let refusal: SendError | undefined
  for (const way of ways) {
    try {
      await publish(way)
      return undefined
    } catch (error) {
      if (!isTooLarge(error)) throw error
      refusal = error
    }
  }
  return refusal
}

function isTooLarge(error: unknown): error is SendError {
  return error instanceof SendError && error.cause instanceof TransportError && error.cause.kind === 'too_large'
}
