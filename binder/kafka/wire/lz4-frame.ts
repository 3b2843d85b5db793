import { BinderError } from '../../errors.ts'
/**
 * LZ4 frames as Kafka's clients write and read them: independent blocks of at most 64 KiB, with no checksum except that of the
 * header. Java reads no others; frames read here may have larger blocks, checksums (not verified, because TCP and Kafka have
 * their own) and a content size.
 *
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */

export interface Lz4Blocks {
  /** Writes to `to` from its start. @returns number of bytes, 0 if the result is not smaller */
  compressBlock(from: Uint8Array, to: Uint8Array, start: number, length: number, hashes: Uint32Array): number
  /** Writes to `to` from `at` on. @returns the end */
  decompressBlock(from: Uint8Array, to: Uint8Array, start: number, length: number, at: number): number
}

const MAGIC = 0x184d2204
const BLOCK_BYTES = 64 * 1024
const HASHES = 1 << 16
/** Version 1, independent blocks; blocks of 64 KiB; the checksum of these two bytes. */
const HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82])
const END = Buffer.alloc(4)
const UNCOMPRESSED = 0x8000_0000
const FLAGS = { blockChecksum: 0x10, contentSize: 0x08, dictionary: 0x01 } as const
const LARGEST_BLOCK = [0, 0, 0, 0, 64 * 1024, 256 * 1024, 1024 * 1024, 4 * 1024 * 1024] as const

export function encodeLz4Frame(lz4: Lz4Blocks, bytes: Buffer): Buffer {
  const parts: Buffer[] = [HEADER]
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = bytes.subarray(at, at + BLOCK_BYTES)
    const packed = Buffer.alloc(block.length + Math.ceil(block.length / 255) + 16)
    const size = lz4.compressBlock(block, packed, 0, block.length, new Uint32Array(HASHES))
    const isSmaller = size > 0 && size < block.length
    const length = Buffer.alloc(4)
    length.writeUInt32LE(isSmaller ? size : (block.length | UNCOMPRESSED) >>> 0)
    parts.push(length, isSmaller ? packed.subarray(0, size) : block)
  }
  return Buffer.concat([...parts, END])
}

/**
 * @throws RangeError when it is not a frame, is truncated, or has a block that exceeds its stated size
 * @throws `binder.kafka.batch_too_large` when the result exceeds `maxBytes`
 */
export function decodeLz4Frame(lz4: Lz4Blocks, bytes: Buffer, maxBytes: number): Buffer {
  if (bytes.length < HEADER.length || bytes.readUInt32LE(0) !== MAGIC) throw new RangeError('no LZ4 frame begins here')
  const flags = bytes.readUInt8(4)
  const largest = LARGEST_BLOCK[(bytes.readUInt8(5) >> 4) & 7] as number
  let at = 6 + (flags & FLAGS.contentSize ? 8 : 0) + (flags & FLAGS.dictionary ? 4 : 0) + 1
  let out = Buffer.alloc(Math.min(maxBytes, Math.max(largest, bytes.length * 4)))
  let end = 0
  for (;;) {
    if (at + 4 > bytes.length) throw new RangeError(`an LZ4 frame of ${bytes.length} bytes has no end`)
    const said = bytes.readUInt32LE(at)
    at += 4
    if (said === 0) return out.subarray(0, end)
    const size = said % UNCOMPRESSED
    if (at + size > bytes.length || size > largest)
      throw new RangeError(`an LZ4 block of ${size} bytes at ${at} does not fit into ${bytes.length} bytes`)
    const becomes = said < UNCOMPRESSED ? unpackedSize(bytes, at, size, largest) : size
    if (end + becomes > maxBytes) throw new BinderError('binder.kafka.batch_too_large', { maxBytes })
    if (end + becomes > out.length)
      out = Buffer.concat([out.subarray(0, end)], Math.min(maxBytes, Math.max(out.length * 2, end + becomes)))
    // Blocks of other writers may refer to the previous one, so all are in one buffer.
    end =
      said >= UNCOMPRESSED ? end + bytes.copy(out, end, at, at + size) : lz4.decompressBlock(bytes, out, at, size, end)
    at += size + (flags & FLAGS.blockChecksum ? 4 : 0)
  }
}

const LEAST_MATCH = 4
const LONGER = 15

/**
 * Adds up the lengths before anything is written, because the package writes as much as a block says, past the end of the buffer,
 * and a few bytes can claim hundreds of megabytes.
 */
function unpackedSize(bytes: Buffer, start: number, size: number, largest: number): number {
  const end = start + size
  let at = start
  let out = 0
  const length = (first: number): number => {
    let sum = first
    for (let more = first === LONGER ? 255 : 0; more === 255; sum += more) more = at < end ? (bytes[at++] as number) : 0
    return sum
  }
  while (at < end) {
    const token = bytes[at++] as number
    const literals = length(token >> 4)
    at += literals
    out += literals
    if (at >= end) break
    at += 2
    out += length(token & LONGER) + LEAST_MATCH
  }
  if (out > largest || at > end)
    throw new RangeError(`an LZ4 block of ${size} bytes at ${start} is no block, or becomes more than ${largest} bytes`)
  return out
}
