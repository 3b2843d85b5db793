/** Finds the records in a batch and checks that each is complete. Records are views, copied only across two pieces. */
import { BinderError } from '../../errors.ts'
import type { IncomingRecord } from '../driver.ts'
import { CachedHeaderReader } from './cached-header-reader.ts'
import type { ChunkedBytes } from './chunked-bytes.ts'
import { RecordCursor } from './record-cursor.ts'
import { recordSize, waitingBytes } from './record-memory-size.ts'
import { StoredRecord } from './stored-record.ts'

export interface RecordsHead {
  readonly firstOffset: number
  readonly firstTimestamp: number
  /** Time of each record, if the broker stamps them. */
  readonly appendedAt: number | undefined
  readonly count: number
}

export interface RecordLimits {
  readonly roomBytes: number
  readonly maxBatchBytes: number
  /** The first record is taken regardless of the capacity. */
  readonly isFirst: boolean
}

/** The records, and the bytes that contain them. */
export interface RecordsRead {
  readonly records: IncomingRecord[]
  readonly heldBytes: number
  readonly begin: number
  readonly end: number
  /** The first omitted record, if not all fit. */
  readonly next: number | undefined
}

/** Number of bytes of a 32-bit number. */
const VARINT_BYTES = 5

/**
 * @throws RangeError when a record exceeds the bytes @throws `binder.kafka.batch_too_large` when one exceeds the limit of a batch
 */
export class RecordReader {
  readonly #pieces: ChunkedBytes
  readonly #headers = new CachedHeaderReader()
  /** Cursor in the rest of a piece, or in an assembled record. */
  readonly #cursor: RecordCursor
  /** Start of that buffer. */
  #base = 0

  constructor(pieces: ChunkedBytes) {
    this.#pieces = pieces
    this.#cursor = new RecordCursor(pieces.from(0, 0))
  }

  /** Reads records from offset `from` on, within the capacity. */
  read(
    { firstOffset, firstTimestamp, appendedAt, count }: RecordsHead,
    from: number,
    limits: RecordLimits,
  ): RecordsRead {
    const cursor = this.#cursor
    const records: IncomingRecord[] = []
    let held = 0
    let begin = 0
    for (let i = 0; i < count; i++) {
      this.#need(VARINT_BYTES)
      const start = this.#base + cursor.at
      const length = cursor.varint()
      this.#need(length)
      const end = cursor.endOf(length)
      cursor.at++
      // The record keeps its sender's time, even if the broker stamps the batch.
      const sentAt = firstTimestamp + cursor.varlong()
      const offset = firstOffset + cursor.varint()
      if (offset >= from) {
        if (records.length === 0) begin = start
        const keyAt = cursor.at
        cursor.skipField()
        const valueAt = cursor.at
        cursor.skipField()
        const headersAt = cursor.at
        const headerCount = cursor.varint()
        const bytes = recordSize(length, headerCount)
        if (bytes > limits.maxBatchBytes)
          throw new BinderError('binder.kafka.batch_too_large', { maxBytes: limits.maxBatchBytes })
        const waiting = waitingBytes(bytes)
        if (held + waiting > limits.roomBytes && (records.length > 0 || !limits.isFirst))
          return { records, heldBytes: held, begin, end: start, next: offset }
        held += waiting
        this.#skipHeaders(headerCount)
        if (cursor.at < end) throw new RangeError(`a record of ${length} bytes at ${start} has less than that`)
        const fields = { buffer: cursor.bytes, keyAt, valueAt, headersAt, headers: this.#headers }
        records.push(new StoredRecord(offset, appendedAt ?? sentAt, bytes, fields))
      }
      if (cursor.at > end) throw new RangeError(`a record of ${length} bytes at ${start} has more than that`)
      cursor.at = end
    }
    return { records, heldBytes: held, begin, end: this.#base + cursor.at, next: undefined }
  }

  /** Ensures that this many following bytes are in one buffer, if there are that many. */
  #need(length: number): void {
    const cursor = this.#cursor
    if (cursor.at + length <= cursor.bytes.length) return
    this.#base += cursor.at
    cursor.bytes = this.#pieces.from(this.#base, length)
    cursor.at = 0
  }

  #skipHeaders(count: number): void {
    const cursor = this.#cursor
    for (let i = 0; i < count; i++) {
      cursor.at = cursor.endOf(cursor.varint())
      cursor.skipField()
    }
  }
}
