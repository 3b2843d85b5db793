import { BinderError } from '../../../errors.ts'
import type { FindCodec } from '../../records/batch-reader.ts'

/** Head of an entry: offset and size, checksum, then two bytes that select the format. */
const ENTRY_HEAD = 12
const AT = { magic: 16, attributes: 17, rest: 18 } as const
const TIMESTAMP_BYTES = 8
const COMPRESSION = 0b111

/**
 * Sets of messages, from before Kafka 0.11, are read by kafkajs, which lets them become whatever their compression says: so it is
 * looked first what they become.
 *
 * @throws `binder.kafka.batch_too_large`
 */
export async function requireBounded(bytes: Buffer, maxBytes: number, findCodec: FindCodec): Promise<void> {
  let left = maxBytes
  for (let at = 0; at + AT.rest <= bytes.length; ) {
    const end = at + ENTRY_HEAD + Math.max(0, bytes.readInt32BE(at + 8))
    // The last one of an answer may be cut off.
    if (end > bytes.length) return
    const codec = findCodec(bytes.readInt8(at + AT.attributes) & COMPRESSION)
    if (codec !== undefined) {
      const value = valueIn(bytes.subarray(at + AT.rest, end), bytes.readInt8(at + AT.magic))
      left -= (await codec.decompress(value, Math.max(1, left))).length
      if (left < 0) throw new BinderError('binder.kafka.batch_too_large', { maxBytes })
    }
    at = end
  }
}

function valueIn(rest: Buffer, magic: number): Buffer {
  const keyAt = magic > 0 ? TIMESTAMP_BYTES : 0
  const valueAt = keyAt + 4 + Math.max(0, rest.readInt32BE(keyAt))
  return rest.subarray(valueAt + 4, valueAt + 4 + Math.max(0, rest.readInt32BE(valueAt)))
}
