import type { IncomingHeader, IncomingRecord } from '../driver.ts'
import { RecordCursor } from './record-cursor.ts'

type Headers = Record<string, IncomingHeader>

const SHORT = 64
const PLACES = 32
const EMPTY = Buffer.alloc(0)

/**
 * A record in the bytes of its batch. Its key, value and headers become objects each time they are asked for: thousands of records wait
 * to be lent, and the garbage collector copies every object that waits with them.
 */
export class StoredRecord implements IncomingRecord {
  readonly offset: number
  readonly timestamp: number
  readonly bytes: number
  readonly #buffer: Buffer
  readonly #keyAt: number
  readonly #valueAt: number
  readonly #headersAt: number
  readonly #texts: RepeatedTexts

  constructor(offset: number, timestamp: number, bytes: number, fields: StoredFields) {
    this.offset = offset
    this.timestamp = timestamp
    this.bytes = bytes
    this.#buffer = fields.buffer
    this.#keyAt = fields.keyAt
    this.#valueAt = fields.valueAt
    this.#headersAt = fields.headersAt
    this.#texts = fields.texts
  }

  get key(): Buffer | null {
    return new RecordCursor(this.#buffer, this.#keyAt).field()
  }

  get value(): Buffer | null {
    return new RecordCursor(this.#buffer, this.#valueAt).field()
  }

  get headers(): Headers {
    const cursor = new RecordCursor(this.#buffer, this.#headersAt)
    const headers: Headers = {}
    const count = cursor.varint()
    for (let i = 0; i < count; i++) add(headers, this.#texts.name(cursor, i), this.#texts.value(cursor, i))
    return headers
  }
}

export interface StoredFields {
  /** Everything of the record must be known to lie in it. */
  readonly buffer: Buffer
  readonly keyAt: number
  readonly valueAt: number
  /** Begins with their number. */
  readonly headersAt: number
  /** Shared by the records of a batch. */
  readonly texts: RepeatedTexts
}

/** Content and position of a field in the previous record: comparing bytes with bytes is faster than with a text. */
interface Seen {
  bytes: Buffer
  at: number
  length: number
  text: string
}

/**
 * The last name and value at each place of a header: records of one topic mostly have the same headers in the same order, and what
 * repeats from record to record is made a string once.
 */
export class RepeatedTexts {
  readonly #names: Seen[] = []
  readonly #values: Seen[] = []

  name(cursor: RecordCursor, place: number): string {
    const end = cursor.endOf(cursor.varint())
    const text = ascii(cursor, this.#names, place, end) ?? cursor.bytes.toString('utf8', cursor.at, end)
    cursor.at = end
    return text
  }

  /** A string where that has the same bytes, which is so for ASCII. */
  value(cursor: RecordCursor, place: number): Buffer | string | undefined {
    const length = cursor.varint()
    if (length < 0) return undefined
    const end = cursor.endOf(length)
    const value = ascii(cursor, this.#values, place, end) ?? cursor.bytes.subarray(cursor.at, end)
    cursor.at = end
    return value
  }
}

/** Reads short ASCII text. Returns the previous record's string if the text is the same. */
function ascii({ bytes, at: start }: RecordCursor, places: Seen[], place: number, end: number): string | undefined {
  const length = end - start
  if (length > SHORT) return undefined
  const seen = places[place]
  if (seen !== undefined && seen.length === length && isAt(bytes, start, seen)) return seen.text
  for (let at = start; at < end; at++) if ((bytes[at] as number) > 0x7f) return undefined
  const text = bytes.toString('latin1', start, end)
  if (seen !== undefined) {
    seen.bytes = bytes
    seen.at = start
    seen.length = length
    seen.text = text
  } else if (place === places.length && place < PLACES) places.push({ bytes, at: start, length, text })
  return text
}

function isAt(bytes: Buffer, start: number, seen: Seen): boolean {
  for (let i = 0; i < seen.length; i++) if (bytes[start + i] !== seen.bytes[seen.at + i]) return false
  return true
}

/** A repeated name becomes a list. */
function add(headers: Headers, name: string, value: Buffer | string | undefined): void {
  const known = headers[name]
  if (known !== undefined && Object.hasOwn(headers, name)) {
    // A list is ours: a copy for each would take the time of all of them once more.
    if (Array.isArray(known)) known.push(value ?? EMPTY)
    else headers[name] = [known as Buffer | string, value ?? EMPTY]
  } else if (name === '__proto__')
    // A plain assignment would be lost.
    Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true })
  else headers[name] = value
}
