import type { IncomingHeader } from '../driver.ts'
import { RecordCursor } from './record-cursor.ts'

type Headers = Record<string, IncomingHeader>

/** Longest text in bytes that is compared with the previous one. */
const SHORT = 64
/** Number of headers whose texts are kept. */
const PLACES = 32
const EMPTY = Buffer.alloc(0)

/** A short ASCII text of the previous record as bytes: comparing bytes with bytes is faster than with a text. */
interface Seen {
  bytes: Buffer
  at: number
  /** -1: the previous record had no such text here. */
  length: number
  text: string
}

/**
 * Reads the headers of the records of a batch. Most records of a topic have the same names in the same order and differ in a few
 * values, so a record's headers begin as a copy of the previous ones, and only changed values become strings.
 */
export class CachedHeaderReader {
  readonly #names: Seen[] = []
  readonly #values: Seen[] = []
  /** Headers of the previous record, and their number; `undefined` if its names cannot be compared. */
  #last: Headers | undefined
  #count = 0

  /** @param at position of the number of headers; everything after it must be in `bytes` */
  read(bytes: Buffer, at: number): Headers {
    const cursor = new RecordCursor(bytes, at)
    const count = cursor.varint()
    return this.#likeLast(cursor, count) ?? this.#anew(new RecordCursor(bytes, at))
  }

  #likeLast(cursor: RecordCursor, count: number): Headers | undefined {
    const last = this.#last
    if (last === undefined || count !== this.#count) return undefined
    const headers = { ...last }
    this.#last = undefined
    for (let i = 0; i < count; i++) {
      const name = this.#names[i] as Seen
      const nameEnd = cursor.endOf(cursor.varint())
      if (!isSame(name, cursor.bytes, cursor.at, nameEnd)) return undefined
      cursor.at = nameEnd
      const length = cursor.varint()
      const end = length < 0 ? -1 : cursor.endOf(length)
      const value = this.#values[i] as Seen
      if (end < 0 || !isSame(value, cursor.bytes, cursor.at, end)) headers[name.text] = readInto(value, cursor, end)
      if (end >= 0) cursor.at = end
    }
    this.#last = headers
    return headers
  }

  #anew(cursor: RecordCursor): Headers {
    const count = cursor.varint()
    const headers: Headers = {}
    let isPlain = count <= PLACES
    for (let i = 0; i < count; i++) {
      const nameSeen = seenAt(this.#names, i)
      const nameEnd = cursor.endOf(cursor.varint())
      const read = readText(nameSeen, cursor, nameEnd)
      const name = typeof read === 'string' ? read : cursor.bytes.toString('utf8', cursor.at, nameEnd)
      cursor.at = nameEnd
      const length = cursor.varint()
      const end = length < 0 ? -1 : cursor.endOf(length)
      const value = readText(seenAt(this.#values, i), cursor, end)
      if (end >= 0) cursor.at = end
      isPlain &&= nameSeen.length >= 0 && name !== '__proto__' && !Object.hasOwn(headers, name)
      add(headers, name, value)
    }
    this.#count = count
    this.#last = isPlain ? headers : undefined
    return headers
  }
}

/** Returns the last text at a position. The caller may overwrite it; positions beyond the limit are not kept. */
function seenAt(places: Seen[], place: number): Seen {
  const seen = places[place] ?? { bytes: EMPTY, at: 0, length: -1, text: '' }
  if (place === places.length && place < PLACES) places.push(seen)
  return seen
}

function isSame(seen: Seen, bytes: Buffer, start: number, end: number): boolean {
  const { bytes: before, at, length } = seen
  if (length !== end - start) return false
  for (let i = 0; i < length; i++) if (bytes[start + i] !== before[at + i]) return false
  return true
}

/** Same as `readInto`, but returns the previous string if the bytes are equal. */
function readText(seen: Seen, cursor: RecordCursor, end: number): Buffer | string | undefined {
  return end >= 0 && isSame(seen, cursor.bytes, cursor.at, end) ? seen.text : readInto(seen, cursor, end)
}

/**
 * Reads a text up to `end`, and keeps it for comparison if it is short ASCII. Other bytes are returned as a view; below 0 it is
 * null.
 */
function readInto(seen: Seen, { bytes, at: start }: RecordCursor, end: number): Buffer | string | undefined {
  seen.length = -1
  if (end < 0) return undefined
  if (end - start > SHORT) return bytes.subarray(start, end)
  for (let at = start; at < end; at++) if ((bytes[at] as number) > 0x7f) return bytes.subarray(start, end)
  const text = bytes.toString('latin1', start, end)
  seen.bytes = bytes
  seen.at = start
  seen.length = end - start
  seen.text = text
  return text
}

/** Adds a header. A repeated name becomes a list. */
function add(headers: Headers, name: string, value: Buffer | string | undefined): void {
  const known = headers[name]
  if (known !== undefined && Object.hasOwn(headers, name)) {
    // The list is our own: copying it for each value would take quadratic time.
    if (Array.isArray(known)) known.push(value ?? EMPTY)
    else headers[name] = [known as Buffer | string, value ?? EMPTY]
  } else if (name === '__proto__')
    // A plain assignment would be lost.
    Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true })
  else headers[name] = value
}
