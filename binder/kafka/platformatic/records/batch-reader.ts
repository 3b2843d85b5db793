/**
 * The batches of a fetch, without control records and those of aborted transactions. The broker sends these along, with a
 * list of the aborted transactions that touch the answer, and leaves it to the reader to drop them.
 *
 * @see https://github.com/apache/kafka/blob/4.2/clients/src/main/java/org/apache/kafka/clients/consumer/internals/CompletedFetch.java
 */
import { toError } from '../../../../core/errors.ts'
import type { IncomingRecord } from '../../driver.ts'
import { COMPRESSION_TYPES, type Codec, GZIP, LZ4, SNAPPY, ZSTD } from '../../wire/codecs.ts'
import { readInt64 } from '../protocol/bytes.ts'
import type { AbortedTransaction } from '../protocol/fetch.ts'
import { AT, ATTRIBUTES, FORMAT, LENGTH_END } from './batch-format.ts'
import { crc32c } from './crc32c.ts'
import { RecordReader } from './record-reader.ts'

/** What was fetched of a partition. */
export interface ReadRecords {
  readonly messages: readonly IncomingRecord[]
  /** Where the next fetch begins: after the last whole batch that could be read. */
  readonly next: number
  /** A batch that cannot be read, and everything behind it with it. */
  readonly unreadable?: { readonly offset: number; readonly error: Error } | undefined
}

/** A codec by its number. */
const CODECS: Readonly<Record<number, Codec>> = {
  [COMPRESSION_TYPES.gzip]: GZIP,
  [COMPRESSION_TYPES.snappy]: SNAPPY,
  [COMPRESSION_TYPES.lz4]: LZ4,
  [COMPRESSION_TYPES.zstd]: ZSTD,
}

/** Of a control record's key: two bytes of version, then the type. */
const TYPE_AT = 2
const ABORT = 0

/** @param from where the fetch began: what a batch has before it is nobody's */
export async function readBatches(
  bytes: Buffer,
  from: number,
  aborted: readonly AbortedTransaction[],
): Promise<ReadRecords> {
  let messages: IncomingRecord[] = []
  const transactions = new Transactions(aborted)
  let next = from
  for (let at = 0; at + AT.records <= bytes.length; ) {
    const end = at + Math.max(AT.records, LENGTH_END + bytes.readInt32BE(at + AT.length))
    // The last batch of an answer may be cut off.
    if (end > bytes.length) break
    const batch = bytes.subarray(at, end)
    const firstOffset = readInt64(batch, AT.firstOffset)
    try {
      const records = await readBatch(batch, firstOffset, from, transactions)
      if (messages.length === 0) messages = records
      else for (const record of records) messages.push(record)
    } catch (error) {
      return { messages, next, unreadable: { offset: firstOffset, error: toError(error) } }
    }
    next = Math.max(next, firstOffset + batch.readInt32BE(AT.lastOffsetDelta) + 1)
    at = end
  }
  return { messages, next }
}

async function readBatch(
  batch: Buffer,
  firstOffset: number,
  from: number,
  transactions: Transactions,
): Promise<IncomingRecord[]> {
  const format = batch.readInt8(AT.magic)
  if (format !== FORMAT) throw new RangeError(`records have format ${format}, of before Kafka 0.11, which is not read`)
  if (crc32c(batch, AT.attributes) !== batch.readUInt32BE(AT.crc)) throw new RangeError('its checksum does not fit')
  const attributes = batch.readInt16BE(AT.attributes)
  const producerId = readInt64(batch, AT.producerId)
  const isControl = (attributes & ATTRIBUTES.control) !== 0
  transactions.reach(firstOffset + batch.readInt32BE(AT.lastOffsetDelta))
  if (!isControl && (attributes & ATTRIBUTES.transactional) !== 0 && transactions.isAborted(producerId)) return []
  const records = await recordsOf(batch, attributes & ATTRIBUTES.compression)
  const head = {
    firstOffset,
    firstTimestamp: readInt64(batch, AT.firstTimestamp),
    appendedAt: (attributes & ATTRIBUTES.logAppendTime) === 0 ? undefined : readInt64(batch, AT.maxTimestamp),
    count: batch.readInt32BE(AT.count),
  }
  const read = new RecordReader(records).read(head, isControl ? 0 : from)
  if (!isControl) return read
  if (read.some(isAbortMarker)) transactions.ended(producerId)
  return []
}

async function recordsOf(batch: Buffer, compression: number): Promise<Buffer> {
  const records = batch.subarray(AT.records)
  if (compression === COMPRESSION_TYPES.none) return records
  const codec = CODECS[compression]
  if (codec === undefined) throw new RangeError(`records are compressed in a way that is not known: ${compression}`)
  return codec.decompress(records)
}

function isAbortMarker({ key }: IncomingRecord): boolean {
  return key !== null && key.length >= TYPE_AT + 2 && key.readInt16BE(TYPE_AT) === ABORT
}

/**
 * Whose transactions are aborted at a place in the log: from the first offset of one to the next abort marker of its
 * producer. The list may be in any order: the broker's is in that of the ends.
 */
class Transactions {
  /** The last one is the next. */
  readonly #ahead: AbortedTransaction[]
  readonly #aborting = new Set<number>()

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#ahead = [...aborted].sort((a, b) => b.firstOffset - a.firstOffset)
  }

  reach(offset: number): void {
    for (let next = this.#ahead.at(-1); next !== undefined && next.firstOffset <= offset; next = this.#ahead.at(-1)) {
      this.#aborting.add(next.producerId)
      this.#ahead.pop()
    }
  }

  isAborted(producerId: number): boolean {
    return this.#aborting.has(producerId)
  }

  ended(producerId: number): void {
    this.#aborting.delete(producerId)
  }
}
