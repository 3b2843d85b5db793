/**
 * kafkajs 2.2 copies all headers that it has read so far for each further one. A record with 10 000 headers, which any
 * producer may write into 200 KB, keeps the process busy for minutes, so that it loses its place in the group, gets the
 * same record again, and so on; and for the seven headers of an ordinary CloudEvent the copies are a fifth of all that
 * decoding takes. This reads the headers of a record into one object in one pass, with the same result.
 *
 * It reaches into the one copy of kafkajs that this package resolves, once, when the first consumer is made. Another copy
 * of kafkajs, or one that looks otherwise inside or decodes the sample below otherwise, stays as it is.
 */
import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'

const MENDED = Symbol.for('concordat.kafka.header-decoding')
/** Names are kept by place, so that those of the next record need no new strings. */
const NAMES_KEPT = 32

/** kafkajs' reader of bytes, as far as it is used. */
interface Decoder {
  readonly buffer: Buffer
  offset: number
  readVarInt(): number
  readVarIntBytes(): Buffer | null
}

/** All that kafkajs does with it is `reduce(copy, {})`. */
interface HeaderList {
  reduce(copy: (headers: Headers, header: Header) => Headers, empty: Headers): Headers
}

interface Header {
  readonly key: string
  readonly value: Buffer | null
}

type Headers = Record<string, unknown>
type ReadHeader = (decoder: Decoder) => Header
type ReadArray = (this: Decoder, reader: ReadHeader) => HeaderList

type DecodeRecord = (
  decoder: Decoder,
  batch: { readonly firstOffset: string; readonly firstTimestamp: string },
) => unknown

/** A record without key and value, with the headers a: "1", b: null, a: "2". */
const SAMPLE = Buffer.from([0, 0, 0, 1, 1, 6, 2, 0x61, 2, 0x31, 2, 0x62, 1, 2, 0x61, 2, 0x32])

interface Kafkajs {
  readonly prototype: { readVarIntArray?: ReadArray & { [MENDED]?: true } }
  new (buffer: Buffer): Decoder
}

/** Idempotent. @returns whether it is mended */
export function mendHeaderDecoding(): boolean {
  try {
    const require = createRequire(import.meta.url)
    const Decoder = require('kafkajs/src/protocol/decoder.js') as Kafkajs
    const readHeader = require('kafkajs/src/protocol/recordBatch/header/v0/decoder.js') as ReadHeader
    const decodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0/decoder.js') as DecodeRecord
    const original = Decoder.prototype.readVarIntArray
    if (typeof original !== 'function') return false
    if (original[MENDED] === true) return true
    const decodeSample = (): unknown => decodeRecord(new Decoder(SAMPLE), { firstOffset: '0', firstTimestamp: '0' })
    const expected = decodeSample()
    Decoder.prototype.readVarIntArray = mended(original, readHeader)
    if (isDeepStrictEqual(decodeSample(), expected)) return true
    Decoder.prototype.readVarIntArray = original
    return false
  } catch {
    return false
  }
}

function mended(original: ReadArray, readHeader: ReadHeader): ReadArray & { [MENDED]: true } {
  const readArray: ReadArray = function (reader) {
    return reader === readHeader ? new DecodedHeaders(readHeaders(this)) : original.call(this, reader)
  }
  return Object.assign(readArray, { [MENDED]: true as const })
}

/** What kafkajs is handed: it asks for the object that is already there. */
class DecodedHeaders implements HeaderList {
  readonly #headers: Headers

  constructor(headers: Headers) {
    this.#headers = headers
  }

  reduce(): Headers {
    return this.#headers
  }
}

/** By name; of a name that comes again a list. */
function readHeaders(decoder: Decoder): Headers {
  const count = decoder.readVarInt()
  const headers: Headers = {}
  for (let i = 0; i < count; i++) {
    const name = readName(decoder, i)
    add(headers, name, decoder.readVarIntBytes())
  }
  return headers
}

function add(headers: Headers, name: string, value: Buffer | null): void {
  const known = Object.hasOwn(headers, name) ? headers[name] : undefined
  if (known !== undefined) {
    if (Array.isArray(known)) known.push(value)
    else headers[name] = [known, value]
  } else if (name === '__proto__') {
    // A plain assignment would be lost.
    Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true })
  } else headers[name] = value
}

interface Name {
  readonly bytes: Buffer
  readonly text: string
}

/** The names of the last record with so many headers: records of one topic mostly have the same, in the same order. */
const names: Array<Name | undefined> = Array.from({ length: NAMES_KEPT })

function readName(decoder: Decoder, place: number): string {
  const length = decoder.readVarInt()
  if (length === -1) return 'null'
  const start = decoder.offset
  decoder.offset = start + length
  const known = names[place]
  if (known !== undefined && isAt(decoder.buffer, start, length, known.bytes)) return known.text
  const bytes = decoder.buffer.subarray(start, start + length)
  const text = bytes.toString()
  if (place < NAMES_KEPT && length <= 64) names[place] = { bytes: Buffer.from(bytes), text }
  return text
}

function isAt(buffer: Buffer, start: number, length: number, bytes: Buffer): boolean {
  if (bytes.length !== length) return false
  for (let i = 0; i < length; i++) if (buffer[start + i] !== bytes[i]) return false
  return true
}
