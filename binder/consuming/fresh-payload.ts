import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { decodePayload } from '../channel/message-codec.ts'

/**
 * The payload for another attempt, as it was sent: a handler may have changed the one of its last attempt. Keeps that one where the
 * message is not readable a second time. Never rejects.
 */
export async function freshPayload(
  channel: Channel<unknown, unknown>,
  message: EncodedMessage,
  last: unknown,
): Promise<unknown> {
  // A binding that reads raw messages gets the message itself.
  if (last === message || typeof last !== 'object' || last === null) return last
  try {
    return await decodePayload(channel, message)
  } catch {
    return last
  }
}
