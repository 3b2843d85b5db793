/**
 * A batch of records (format 2, since Kafka 0.11): 61 bytes of header, then the records, compressed as one.
 *
 * @see https://kafka.apache.org/documentation/#recordbatch
 */
export const AT = {
  firstOffset: 0,
  length: 8,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  firstSequence: 53,
  count: 57,
  records: 61,
} as const

/** Number of bytes before those that `length` counts. */
export const LENGTH_END = 12
export const FORMAT = 2
/** Older formats have it at the same position. */
export const MAGIC_AT = AT.magic

/** Reads a number, exact up to 2^53. */
export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4)
}

/** Writes a number, exact up to 2^53. */
export function writeInt64(bytes: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32)
  bytes.writeInt32BE(high, at)
  bytes.writeUInt32BE(value - high * TWO_32, at + 4)
}

const TWO_32 = 2 ** 32

export const ATTRIBUTES = { compression: 0b111, logAppendTime: 1 << 3, transactional: 1 << 4, control: 1 << 5 } as const
