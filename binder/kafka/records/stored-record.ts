import type { IncomingRecord } from '../driver.ts'
import type { CachedHeaderReader } from './cached-header-reader.ts'
import { RecordCursor } from './record-cursor.ts'

/**
 * A record as bytes of its batch. Its key, value and headers become objects each time they are read, because thousands of records
 * wait to be lent, and the garbage collector would copy every waiting object.
 */
export class StoredRecord implements IncomingRecord {
  readonly offset: number
  readonly timestamp: number
  readonly bytes: number
  readonly #buffer: Buffer
  readonly #keyAt: number
  readonly #valueAt: number
  readonly #headersAt: number
  readonly #headers: CachedHeaderReader

  constructor(offset: number, timestamp: number, bytes: number, fields: StoredFields) {
    this.offset = offset
    this.timestamp = timestamp
    this.bytes = bytes
    this.#buffer = fields.buffer
    this.#keyAt = fields.keyAt
    this.#valueAt = fields.valueAt
    this.#headersAt = fields.headersAt
    this.#headers = fields.headers
  }

  get key(): Buffer | null {
    return new RecordCursor(this.#buffer, this.#keyAt).field()
  }

  get value(): Buffer | null {
    return new RecordCursor(this.#buffer, this.#valueAt).field()
  }

  get headers(): NonNullable<IncomingRecord['headers']> {
    return this.#headers.read(this.#buffer, this.#headersAt)
  }
}

export interface StoredFields {
  /** Must contain the whole record. */
  readonly buffer: Buffer
  readonly keyAt: number
  readonly valueAt: number
  /** Begins with the number of headers. */
  readonly headersAt: number
  /** Shared by the records of a batch. */
  readonly headers: CachedHeaderReader
}
