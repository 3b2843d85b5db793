/**
 * The records inside a batch. Each is read where it lies, and copied only if it lies across two pieces. What repeats from record
 * to record, names and short values of headers, is made a string once.
 */
import { BinderError } from '../../errors.ts'
import type { IncomingHeader, IncomingRecord } from '../driver.ts'
import type { Pieces } from './pieces.ts'
import { heldBytes, recordSize } from './record-size.ts'

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
  /** The first record is taken, whatever the room. */
  readonly isFirst: boolean
}

/** The records, and the bytes that contain them. */
export interface RecordsRead {
  readonly records: IncomingRecord[]
  readonly begin: number
  readonly end: number
  /** The first that was left, where there was no room for all. */
  readonly next: number | undefined
}

type Headers = Record<string, IncomingHeader>

const SHORT = 64
const PLACES = 32
/** The bytes of a number of 32 bits. */
const VARINT_BYTES = 5

/** Content and position of a field in the previous record: comparing bytes with bytes is faster than with a text. */
interface Seen {
  bytes: Buffer
  at: number
  length: number
  text: string
}

/**
 * @throws RangeError when a record does not fit into the bytes @throws `binder.kafka.batch_too_large` when one takes more than a batch may
 */
export class RecordReader {
  readonly #pieces: Pieces
  /** The bytes being read: the rest of a piece, or an assembled record. */
  #bytes: Buffer
  #at = 0
  /** Where that begins. */
  #base = 0
  /** The last name and value at each place: records of one topic mostly have the same headers in the same order. */
  readonly #names: Seen[] = []
  readonly #values: Seen[] = []

  constructor(pieces: Pieces) {
    this.#pieces = pieces
    this.#bytes = pieces.from(0, 0)
  }

  /** Reads records from offset `from` on, as far as there is room. */
  read(
    { firstOffset, firstTimestamp, appendedAt, count }: RecordsHead,
    from: number,
    limits: RecordLimits,
  ): RecordsRead {
    const records: IncomingRecord[] = []
    let held = 0
    let begin = 0
    for (let i = 0; i < count; i++) {
      this.#need(VARINT_BYTES)
      const start = this.#base + this.#at
      const length = this.#varint()
      this.#need(length)
      const end = this.#end(length)
      this.#at++
      // The record keeps its sender's time, also where the broker stamps the batch.
      const sentAt = firstTimestamp + this.#varlong()
      const offset = firstOffset + this.#varint()
      if (offset >= from) {
        if (records.length === 0) begin = start
        const key = this.#field()
        const value = this.#field()
        const headerCount = this.#varint()
        const bytes = recordSize(length, headerCount)
        if (bytes > limits.maxBatchBytes)
          throw new BinderError('binder.kafka.batch_too_large', { maxBytes: limits.maxBatchBytes })
        held += heldBytes({ bytes, value })
        if (held > limits.roomBytes && (records.length > 0 || !limits.isFirst))
          return { records, begin, end: start, next: offset }
        records.push({
          offset,
          timestamp: appendedAt ?? sentAt,
          key,
          value,
          headers: this.#headers(headerCount),
          bytes,
        })
        if (this.#at < end) throw new RangeError(`a record of ${length} bytes at ${start} has less than that`)
      }
      if (this.#at > end) throw new RangeError(`a record of ${length} bytes at ${start} has more than that`)
      this.#at = end
    }
    return { records, begin, end: this.#base + this.#at, next: undefined }
  }

  /** Ensures that this many following bytes are in one buffer, if there are that many. */
  #need(length: number): void {
    if (this.#at + length <= this.#bytes.length) return
    this.#base += this.#at
    this.#bytes = this.#pieces.from(this.#base, length)
    this.#at = 0
  }

  #headers(count: number): Headers {
    const headers: Headers = {}
    for (let i = 0; i < count; i++) add(headers, this.#name(i), this.#value(i))
    return headers
  }

  #name(place: number): string {
    const length = this.#varint()
    const end = this.#end(length)
    const text = this.#ascii(this.#names, place, end) ?? this.#bytes.toString('utf8', this.#at, end)
    this.#at = end
    return text
  }

  /** A string where that has the same bytes, which is so for ASCII. */
  #value(place: number): Buffer | string | undefined {
    const length = this.#varint()
    if (length < 0) return undefined
    const end = this.#end(length)
    const value = this.#ascii(this.#values, place, end) ?? this.#bytes.subarray(this.#at, end)
    this.#at = end
    return value
  }

  /** Reads short ASCII text. Returns the previous record's string if the text is the same. */
  #ascii(places: Seen[], place: number, end: number): string | undefined {
    const length = end - this.#at
    if (length > SHORT) return undefined
    const seen = places[place]
    if (seen !== undefined && seen.length === length && this.#isHere(seen)) return seen.text
    for (let at = this.#at; at < end; at++) if ((this.#bytes[at] as number) > 0x7f) return undefined
    const text = this.#bytes.toString('latin1', this.#at, end)
    if (seen !== undefined) {
      seen.bytes = this.#bytes
      seen.at = this.#at
      seen.length = length
      seen.text = text
    } else if (place === places.length && place < PLACES)
      places.push({ bytes: this.#bytes, at: this.#at, length, text })
    return text
  }

  #isHere({ bytes, at, length }: Seen): boolean {
    for (let i = 0; i < length; i++) if (this.#bytes[this.#at + i] !== bytes[at + i]) return false
    return true
  }

  #field(): Buffer | null {
    const length = this.#varint()
    if (length < 0) return null
    const end = this.#end(length)
    const field = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return field
  }

  #end(length: number): number {
    const end = this.#at + length
    if (length < 0 || end > this.#bytes.length)
      throw new RangeError(
        `${length} bytes of a record at ${this.#base + this.#at} do not fit into ${this.#pieces.length}`,
      )
    return end
  }

  #varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw new RangeError(`a number at ${this.#at} of a batch has no end`)
  }

  /** Milliseconds between records: exact up to 2^53. */
  #varlong(): number {
    let value = 0
    let weight = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * weight
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      weight *= 128
    }
    throw new RangeError(`a number at ${this.#at} of a batch has no end`)
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new RangeError(`a batch of ${this.#pieces.length} bytes ends in a record`)
    return byte
  }
}

/** A repeated name becomes a list. */
function add(headers: Headers, name: string, value: Buffer | string | undefined): void {
  const known = Object.hasOwn(headers, name) ? headers[name] : undefined
  if (known !== undefined) {
    // A list is ours: a copy for each would take the time of all of them once more.
    if (Array.isArray(known)) known.push(value ?? EMPTY)
    else headers[name] = [known as Buffer | string, value ?? EMPTY]
  } else if (name === '__proto__')
    // A plain assignment would be lost.
    Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true })
  else headers[name] = value
}

const EMPTY = Buffer.alloc(0)
