import { BinderError } from '../../errors.ts'
/**
 * Snappy in the format of Java's clients for Kafka: blocks of raw snappy with their lengths, after a header of 16 bytes. Some
 * producers (librdkafka) write one raw block without either.
 *
 * @see https://github.com/xerial/snappy-java (SnappyOutputStream)
 */

export interface Snappy {
  compress(bytes: Buffer): Buffer
  /** @throws Error when it is not snappy */
  uncompress(bytes: Buffer): Buffer
}

const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
/** The magic, its version and the oldest version that can read it. */
const HEADER = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])
const BLOCK_BYTES = 32 * 1024

export function encodeXerial(snappy: Snappy, bytes: Buffer): Buffer {
  const parts: Buffer[] = [HEADER]
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = snappy.compress(bytes.subarray(at, at + BLOCK_BYTES))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/**
 * @throws RangeError when it is not snappy, or ends within a block
 * @throws `binder.kafka.batch_too_large` when the result exceeds `maxBytes`
 */
export function decodeXerial(snappy: Snappy, bytes: Buffer, maxBytes: number): Buffer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return block(snappy, bytes, maxBytes, maxBytes)
  if (bytes.length < HEADER.length) throw new RangeError(`snappy data of ${bytes.length} bytes ends in its header`)
  const parts: Buffer[] = []
  let left = maxBytes
  for (let at = HEADER.length; at < bytes.length; ) {
    if (at + 4 > bytes.length) throw new RangeError(`snappy data of ${bytes.length} bytes ends in a length`)
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0 || at + length > bytes.length)
      throw new RangeError(`a snappy block of ${length} bytes at ${at} does not fit into ${bytes.length} bytes`)
    const part = block(snappy, bytes.subarray(at, at + length), left, maxBytes)
    left -= part.length
    parts.push(part)
    at += length
  }
  return Buffer.concat(parts)
}

/** @param left remainder of `maxBytes` after the previous blocks */
function block(snappy: Snappy, bytes: Buffer, left: number, maxBytes: number): Buffer {
  const becomes = unpackedSize(bytes)
  if (becomes === undefined) throw new RangeError(`a block of ${bytes.length} bytes is no snappy`)
  if (becomes > left) throw new BinderError('binder.kafka.batch_too_large', { maxBytes })
  try {
    return snappy.uncompress(bytes)
  } catch (cause) {
    throw new RangeError(`a block of ${bytes.length} bytes is no snappy`, { cause })
  }
}

/**
 * Returns the size after decompression; `undefined` if its parts do not add up to the stated length. The package trusts that
 * length, treats a length of four bytes as negative, with which it loops backwards in its input forever, and does not check the
 * end of its output.
 */
function unpackedSize(bytes: Buffer): number | undefined {
  let at = 0
  let said = 0
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[at++]
    if (byte === undefined || at > 5) return undefined
    said += (byte & 127) * shift
    if (byte < 128) break
  }
  let out = 0
  while (at < bytes.length) {
    const tag = bytes[at++] as number
    const more = tag >>> 2
    const kind = tag & 3
    if (kind !== 0) {
      out += kind === 1 ? (more & 7) + 4 : more + 1
      at += kind === 3 ? 4 : kind
      continue
    }
    const extra = Math.max(0, more - 59)
    if (at + extra > bytes.length) return undefined
    const size = (extra === 0 ? more : bytes.readUIntLE(at, extra)) + 1
    at += extra + size
    out += size
  }
  return at === bytes.length && out === said ? said : undefined
}
