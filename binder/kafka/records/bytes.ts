/** Types of Kafka's protocol in versions without tagged fields. 64-bit integers are numbers, exact up to 2^53. */
import { readInt64, writeInt64 } from './batch-layout.ts'
import type { ChunkedBytes } from './chunked-bytes.ts'

const FIRST_BYTES = 256

/** Writes a request into a buffer that grows. */
export class ByteWriter {
  #bytes: Buffer
  #at = 0

  constructor(size = FIRST_BYTES) {
    this.#bytes = Buffer.allocUnsafe(size)
  }

  /** Bytes written so far. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  int8(value: number): this {
    this.#at = this.#room(1).writeInt8(value, this.#at)
    return this
  }

  int16(value: number): this {
    this.#at = this.#room(2).writeInt16BE(value, this.#at)
    return this
  }

  int32(value: number): this {
    this.#at = this.#room(4).writeInt32BE(value, this.#at)
    return this
  }

  int64(value: number): this {
    this.#room(8)
    writeInt64(this.#bytes, value, this.#at)
    this.#at += 8
    return this
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0)
  }

  string(value: string | null): this {
    if (value === null) return this.int16(-1)
    const length = Buffer.byteLength(value)
    this.int16(length)
    this.#room(length).write(value, this.#at)
    this.#at += length
    return this
  }

  bytesField(value: Buffer): this {
    this.int32(value.length)
    this.#room(value.length).set(value, this.#at)
    this.#at += value.length
    return this
  }

  array<T>(items: readonly T[] | null, write: (item: T) => void): this {
    if (items === null) return this.int32(-1)
    this.int32(items.length)
    for (const item of items) write(item)
    return this
  }

  #room(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + length))
      this.#bytes.copy(larger, 0, 0, this.#at)
      this.#bytes = larger
    }
    return this.#bytes
  }
}

/** Reads an answer. @throws RangeError if it ends too early */
export class ByteReader {
  readonly #pieces: ChunkedBytes
  /** The buffer being read, and the position in it. */
  #bytes: Buffer
  #base = 0
  #at = 0

  constructor(pieces: ChunkedBytes) {
    this.#pieces = pieces
    this.#bytes = pieces.from(0, 0)
  }

  int8(): number {
    const at = this.#need(1)
    return this.#bytes.readInt8(at)
  }

  int16(): number {
    const at = this.#need(2)
    return this.#bytes.readInt16BE(at)
  }

  int32(): number {
    const at = this.#need(4)
    return this.#bytes.readInt32BE(at)
  }

  int64(): number {
    const at = this.#need(8)
    return readInt64(this.#bytes, at)
  }

  boolean(): boolean {
    return this.int8() !== 0
  }

  /** Null is empty. */
  string(): string {
    return this.nullableString() ?? ''
  }

  nullableString(): string | null {
    const length = this.int16()
    return length < 0 ? null : this.take(length).toString()
  }

  /** Returns a view, or a copy of bytes in several pieces; null is empty. */
  bytesField(): Buffer {
    return this.take(Math.max(0, this.int32()))
  }

  /** Returns views; null is empty. */
  piecesField(): ChunkedBytes {
    const length = Math.max(0, this.int32())
    const begin = this.#base + this.#at
    if (begin + length > this.#pieces.length) throw this.#tooShort(length)
    this.#move(begin + length, 0)
    return this.#pieces.part(begin, begin + length)
  }

  /** Null is empty. */
  array<T>(read: () => T): T[] {
    const count = this.int32()
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }

  take(length: number): Buffer {
    if (length < 0) throw this.#tooShort(length)
    const at = this.#need(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** Ensures that the next bytes are all in `#bytes`, and moves past them. Returns their position. */
  #need(length: number): number {
    if (this.#at + length > this.#bytes.length) {
      this.#move(this.#base + this.#at, length)
      if (length > this.#bytes.length) throw this.#tooShort(length)
    }
    const at = this.#at
    this.#at += length
    return at
  }

  #move(to: number, length: number): void {
    this.#base = to
    this.#bytes = this.#pieces.from(to, length)
    this.#at = 0
  }

  #tooShort(length: number): RangeError {
    return new RangeError(`${length} bytes at ${this.#base + this.#at} do not fit into ${this.#pieces.length}`)
  }
}
