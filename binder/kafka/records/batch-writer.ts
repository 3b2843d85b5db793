/** Writes records in wire format, once into one buffer: strings byte by byte, because most are short and ASCII. */
import { BinderError } from '../../errors.ts'
import type { Envelope } from '../driver.ts'
import { CODECS, COMPRESSION_TYPES, type Compression } from '../wire/compression-codecs.ts'
import { AT, FORMAT, LENGTH_END, writeInt64 } from './batch-layout.ts'
import type { FindCodec } from './batch-reader.ts'
import { crc32c } from './crc32c.ts'

/** Identity of the producer: the broker drops records that it already has from this producer with the same sequence number. */
export interface ProducerIdentity {
  readonly id: number
  readonly epoch: number
}

/** Fields of the batch header other than its records. */
export interface BatchHead {
  /** Time of each record, epoch ms. */
  readonly time: number
  readonly identity: ProducerIdentity
  /** Sequence number of the first record. */
  readonly sequence: number
  readonly compression: Compression
  /** Finds the codec. @default codecs of this package */
  readonly findCodec?: FindCodec | undefined
}

const SHORT = 64
/** A record's length takes one to five bytes, usually two. */
const USUAL_LENGTH_BYTES = 2

/** Records of one partition, at least one. */
export async function writeBatch(records: readonly Envelope[], head: BatchHead): Promise<Buffer> {
  const room = records.reduce((sum, { bytes }) => sum + bytes, Number(AT.records))
  const bytes = Buffer.allocUnsafe(room)
  let at: number = AT.records
  for (let i = 0; i < records.length; i++) at = writeRecord(bytes, at, records[i] as Envelope, i)
  const written = bytes.subarray(0, at)
  return head.compression === 'none'
    ? sealed(written, records.length, head)
    : sealed(await compressed(written, head), records.length, head)
}

async function compressed(batch: Buffer, { compression, findCodec }: BatchHead): Promise<Buffer> {
  const type = COMPRESSION_TYPES[compression]
  const codec = findCodec?.(type) ?? CODECS[type]
  if (codec === undefined)
    throw new BinderError('binder.kafka.codec_missing', {
      message: `there is nothing that compresses with ${compression}`,
    })
  const records = await codec.compress(batch.subarray(AT.records))
  return Buffer.concat([batch.subarray(0, AT.records), records])
}

/** Writes the header over the reserved bytes. */
function sealed(batch: Buffer, count: number, { time, identity, sequence, compression }: BatchHead): Buffer {
  writeInt64(batch, 0, AT.firstOffset)
  batch.writeInt32BE(batch.length - LENGTH_END, AT.length)
  batch.writeInt32BE(-1, LENGTH_END)
  batch.writeInt8(FORMAT, AT.magic)
  batch.writeInt16BE(COMPRESSION_TYPES[compression], AT.attributes)
  batch.writeInt32BE(count - 1, AT.lastOffsetDelta)
  writeInt64(batch, time, AT.firstTimestamp)
  writeInt64(batch, time, AT.maxTimestamp)
  writeInt64(batch, identity.id, AT.producerId)
  batch.writeInt16BE(identity.epoch, AT.producerEpoch)
  batch.writeInt32BE(sequence, AT.firstSequence)
  batch.writeInt32BE(count, AT.count)
  batch.writeUInt32BE(crc32c(batch.subarray(AT.attributes)), AT.crc)
  return batch
}

/** Writes a record. Its length comes first but is known last. @returns start of the next record */
function writeRecord(to: Buffer, begin: number, { key, value, headers }: Envelope, delta: number): number {
  const body = begin + USUAL_LENGTH_BYTES
  let at = body
  to[at++] = 0
  // Same time as the batch.
  to[at++] = 0
  at = writeVarint(to, at, delta)
  at = writeField(to, at, key)
  at = writeField(to, at, value)
  const countAt = at++
  let count = 0
  for (const name in headers) {
    at = writeField(to, at, name)
    at = writeField(to, at, headers[name] as Buffer | string)
    count++
  }
  at = moved(to, countAt + 1, at, countAt, count)
  return moved(to, body, at, begin, at - body)
}

/** Writes `value` at `head`, and moves the bytes from `from` to `end` right behind it. @returns the new end */
function moved(to: Buffer, from: number, end: number, head: number, value: number): number {
  const next = head + varintBytes(value)
  if (next !== from) to.copyWithin(next, from, end)
  writeVarint(to, head, value)
  return end + next - from
}

/** Writes a length and the bytes. */
function writeField(to: Buffer, at: number, value: Buffer | string | null): number {
  if (value === null) return writeVarint(to, at, -1)
  if (typeof value !== 'string') {
    const begin = writeVarint(to, at, value.length)
    to.set(value, begin)
    return begin + value.length
  }
  return value.length < SHORT ? writeShort(to, at, value) : writeString(to, at, value)
}

/** Writes short ASCII text, for which a one-byte length suffices. */
function writeShort(to: Buffer, at: number, value: string): number {
  const begin = at + 1
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code > 0x7f) return writeString(to, at, value)
    to[begin + i] = code
  }
  to[at] = value.length << 1
  return begin + value.length
}

function writeString(to: Buffer, at: number, value: string): number {
  const begin = writeVarint(to, at, Buffer.byteLength(value))
  return begin + to.write(value, begin)
}

/** Writes a number in zigzag encoding, seven bits per byte. */
function writeVarint(to: Buffer, begin: number, value: number): number {
  let at = begin
  let rest = ((value << 1) ^ (value >> 31)) >>> 0
  for (; rest > 0x7f; rest >>>= 7) to[at++] = (rest & 0x7f) | 0x80
  to[at++] = rest
  return at
}

function varintBytes(value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0
  let bytes = 1
  for (; rest > 0x7f; rest >>>= 7) bytes++
  return bytes
}
