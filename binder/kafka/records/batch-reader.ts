/**
 * Reads the batches of a fetch, without control records and those of aborted transactions. The broker sends these, too, with a
 * list of the aborted transactions in the answer, and leaves it to the reader to drop them.
 *
 * The decompressed size of a batch is limited, and records are kept only within the capacity: the next fetch begins at the first
 * omitted record.
 *
 * @see
 * https://github.com/apache/kafka/blob/4.2/clients/src/main/java/org/apache/kafka/clients/consumer/internals/CompletedFetch.java
 */

import { toError } from '../../../core/errors.ts'
import { BinderError } from '../../errors.ts'
import type { IncomingRecord } from '../driver.ts'
import { CODECS, COMPRESSION_TYPES, type Codec } from '../wire/compression-codecs.ts'
import { type AbortedTransaction, AbortedTransactions } from './aborted.ts'
import { AT, ATTRIBUTES, FORMAT, LENGTH_END, readInt64 } from './batch-layout.ts'
import { ChunkedBytes } from './chunked-bytes.ts'
import { crc32c } from './crc32c.ts'
import { RecordReader, type RecordsHead } from './record-reader.ts'

/** Records fetched from a partition. */
export interface ReadRecords {
  readonly messages: readonly IncomingRecord[]
  /** Start of the next fetch: after the last whole readable batch, or after the last record within the capacity. */
  readonly next: number
  /** Memory of the messages. */
  readonly heldBytes: number
  /** A batch that cannot be read, which blocks everything behind it. */
  readonly unreadable?: { readonly offset: number; readonly error: Error } | undefined
}

export interface ReadLimits {
  /** Memory limit of this answer; one record is always taken. */
  readonly roomBytes: number
  /** Maximum decompressed size of a batch, and of one record. */
  readonly maxBatchBytes: number
}

/** Returns the codec with this number of the protocol; `undefined` without one. */
export type FindCodec = (type: number) => Codec | undefined

/** Position in a control record's key: two bytes of version, then the type. */
const TYPE_AT = 2
const ABORT = 0
/** A small part of a large buffer keeps all of it alive. */
const SMALL_PART = 4

/** @param from start of the fetch: earlier records of a batch are skipped */
export async function readBatches(
  answer: ChunkedBytes,
  from: number,
  aborted: readonly AbortedTransaction[],
  limits: ReadLimits,
  findCodec: FindCodec = (type) => CODECS[type],
): Promise<ReadRecords> {
  const bytes = answer.length * SMALL_PART < answer.backingBytes ? answer.copy() : answer
  const transactions = new AbortedTransactions(aborted)
  let messages: IncomingRecord[] = []
  let held = 0
  let next = from
  for (let at = 0; at + AT.records <= bytes.length && (held < limits.roomBytes || messages.length === 0); ) {
    const header = bytes.from(at, AT.records)
    const end = at + Math.max(AT.records, LENGTH_END + header.readInt32BE(AT.length))
    // The last batch of an answer may be truncated.
    if (end > bytes.length) break
    const firstOffset = readInt64(header, AT.firstOffset)
    try {
      const roomBytes = messages.length === 0 ? Math.max(1, limits.roomBytes) : limits.roomBytes - held
      const isFirst = messages.length === 0
      const read = await readBatch({ header, all: bytes.part(at, end) }, from, transactions, {
        ...limits,
        roomBytes,
        isFirst,
        findCodec,
      })
      held += read.heldBytes
      if (isFirst) messages = read.records
      else for (const record of read.records) messages.push(record)
      if (read.next !== undefined) return { messages, next: Math.max(next, read.next), heldBytes: held }
    } catch (error) {
      return { messages, next, heldBytes: held, unreadable: { offset: firstOffset, error: toError(error) } }
    }
    next = Math.max(next, firstOffset + header.readInt32BE(AT.lastOffsetDelta) + 1)
    at = end
  }
  return { messages, next, heldBytes: held }
}

interface BatchLimits extends ReadLimits {
  /** The first record is taken regardless of the capacity. */
  readonly isFirst: boolean
  readonly findCodec: FindCodec
}

interface BatchRead {
  readonly records: IncomingRecord[]
  readonly heldBytes: number
  /** The first omitted record, if not all fit. */
  readonly next?: number | undefined
}

const NOTHING: BatchRead = { records: [], heldBytes: 0 }

interface Batch {
  /** At least all bytes before its records. */
  readonly header: Buffer
  readonly all: ChunkedBytes
}

async function readBatch(
  { header, all }: Batch,
  from: number,
  transactions: AbortedTransactions,
  limits: BatchLimits,
): Promise<BatchRead> {
  const format = header.readInt8(AT.magic)
  if (format !== FORMAT) throw new RangeError(`records have format ${format}, of before Kafka 0.11, which is not read`)
  if (checksum(all) !== header.readUInt32BE(AT.crc)) throw new RangeError('its checksum does not fit')
  const attributes = header.readInt16BE(AT.attributes)
  const producerId = readInt64(header, AT.producerId)
  const firstOffset = readInt64(header, AT.firstOffset)
  const isControl = (attributes & ATTRIBUTES.control) !== 0
  transactions.reach(firstOffset + header.readInt32BE(AT.lastOffsetDelta))
  if (!isControl && (attributes & ATTRIBUTES.transactional) !== 0 && transactions.isAborted(producerId)) return NOTHING
  const compression = attributes & ATTRIBUTES.compression
  const packed = all.part(AT.records, all.length)
  const bytes =
    compression === COMPRESSION_TYPES.none
      ? packed
      : ChunkedBytes.of(await unpacked(packed.joined(), compression, limits))
  const head = {
    firstOffset,
    firstTimestamp: readInt64(header, AT.firstTimestamp),
    appendedAt: (attributes & ATTRIBUTES.logAppendTime) === 0 ? undefined : readInt64(header, AT.maxTimestamp),
    count: header.readInt32BE(AT.count),
  }
  if (!isControl) return readRecords(bytes, head, from, limits)
  const { records } = new RecordReader(bytes).read(head, 0, UNLIMITED)
  if (records.some(isAbortMarker)) transactions.ended(producerId)
  return NOTHING
}

/** Returns the checksum of everything after it. */
function checksum(batch: ChunkedBytes): number {
  let crc = 0
  for (const piece of batch.part(AT.attributes, batch.length).buffers) crc = crc32c(piece, crc)
  return crc
}

const UNLIMITED = {
  roomBytes: Number.POSITIVE_INFINITY,
  maxBatchBytes: Number.POSITIVE_INFINITY,
  isFirst: true,
} as const

async function unpacked(
  packed: Buffer,
  compression: number,
  { maxBatchBytes, findCodec }: BatchLimits,
): Promise<Buffer> {
  const codec = findCodec(compression)
  if (codec === undefined) throw new RangeError(`records are compressed in a way that is not known: ${compression}`)
  const bytes = await codec.decompress(packed, maxBatchBytes)
  if (bytes.length > maxBatchBytes) throw new BinderError('binder.kafka.batch_too_large', { maxBytes: maxBatchBytes })
  return bytes
}

function readRecords(bytes: ChunkedBytes, head: RecordsHead, from: number, limits: BatchLimits): BatchRead {
  const read = new RecordReader(bytes).read(head, from, limits)
  const { begin, end, next } = read
  // A part of a batch would keep the whole decompressed batch alive, or the pieces that contain it.
  const isPart = (end - begin) * SMALL_PART < bytes.around(begin, end) && read.records.length > 0
  const { records } = isPart
    ? new RecordReader(bytes.part(begin, end).copy()).read({ ...head, count: read.records.length }, from, {
        ...UNLIMITED,
        maxBatchBytes: limits.maxBatchBytes,
      })
    : read
  return { records, heldBytes: read.heldBytes, next }
}

function isAbortMarker({ key }: IncomingRecord): boolean {
  return key !== null && key.length >= TYPE_AT + 2 && key.readInt16BE(TYPE_AT) === ABORT
}
