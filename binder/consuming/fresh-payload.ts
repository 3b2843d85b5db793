import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { decodePayload } from '../channel/message-codec.ts'

/**
 * Returns the payload for another attempt as it was sent, because a handler may have modified that of its last attempt. Keeps the
 * old one if the message is not readable a second time. Never rejects.
 */
export async function freshPayload(
  channel: Channel<unknown, unknown>,
  message: EncodedMessage,
  last: unknown,
): Promise<unknown> {
  // A binding for raw messages receives the message itself.
  if (last === message || typeof last !== 'object' || last === null) return last
  try {
    return await decodePayload(channel, message)
  } catch {
    return last
  }
}
