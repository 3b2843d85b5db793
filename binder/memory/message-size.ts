/** Estimates the memory of a message. */
import type { EncodedMessage } from '../channel/message.ts'

/** Approximate size of an object and its fields. */
const MESSAGE_BYTES = 200

export function sizeOf(message: EncodedMessage): number {
  let bytes = MESSAGE_BYTES + (message.body?.byteLength ?? 0) + (message.key?.length ?? 0)
  for (const name in message.headers) {
    const value = message.headers[name]
    bytes += name.length
    if (typeof value === 'string') bytes += value.length
    else if (value instanceof Uint8Array) bytes += value.byteLength
  }
  return bytes
}
