import { ConcordatError, show, toError } from './errors.ts'
import { DEPTH_CHECKED, isShallow, MOST_LEVELS } from './json-depth-limit.ts'

/** Converts a value to bytes and back. Both directions are pure; `decode(encode(v))` equals `v`. */
export interface Codec<T> {
  /** Media type written with the bytes, e.g. `application/json`. */
  readonly contentType: string
  /**
   * Tells whether `decode` reads bytes of this content type. Without it, `decode` receives everything, unless a channel reads
   * several types: then the media types must be equal.
   */
  readonly accepts?: ((contentType: string) => boolean) | undefined
  /** @throws CodecError if the value cannot be encoded */
  encode(value: T): Uint8Array
  /** @throws CodecError if the bytes cannot be decoded */
  decode(bytes: Uint8Array): T
}

/** A value that cannot be encoded, or bytes that cannot be decoded. Not retryable: the same input fails again. */
export class CodecError extends ConcordatError {
  readonly code = 'core.codec' as const
  readonly retryable = false as const
  readonly contentType: string

  constructor(contentType: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.contentType = contentType
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeUtf8(contentType: string, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new CodecError(contentType, `${bytes.byteLength} bytes are not valid UTF-8`, { cause })
  }
}

/** JSON in UTF-8. A `__proto__` key stays plain data and cannot reach a prototype. */
export const jsonCodec: Codec<unknown> = Object.freeze({
  contentType: 'application/json',
  encode(value: unknown): Uint8Array {
    let text: string | undefined
    try {
      text = JSON.stringify(value)
    } catch (cause) {
      throw new CodecError('application/json', `value has no JSON form: ${toError(cause).message}`, { cause })
    }
    if (text === undefined) throw new CodecError('application/json', `value has no JSON form: ${show(value)}`)
    return Buffer.from(text)
  },
  decode(bytes: Uint8Array): unknown {
    if (bytes.byteLength > DEPTH_CHECKED && !isShallow(bytes))
      throw new CodecError(
        'application/json',
        `not JSON that is read here: nested deeper than ${MOST_LEVELS} levels, ${bytes.byteLength} bytes`,
      )
    const text = decodeUtf8('application/json', bytes)
    try {
      return JSON.parse(text)
    } catch (error) {
      // Not set as the cause: its text quotes the payload, and causes are written to logs and dead letters.
      throw new CodecError('application/json', `not JSON: ${whatIsWrong(toError(error))}, ${bytes.byteLength} bytes`)
    }
  },
})

function whatIsWrong({ message }: Error): string {
  if (message.includes('end of JSON input')) return 'it ends too early'
  const [where] = /at position \d+/.exec(message) ?? []
  return where === undefined ? 'an unexpected character' : `wrong ${where}`
}

/** A real copy: `slice` of a Buffer shares the bytes. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes)
}

/** A string in UTF-8. */
export const textCodec: Codec<string> = Object.freeze({
  contentType: 'text/plain; charset=utf-8',
  encode(value: string): Uint8Array {
    if (typeof value !== 'string')
      throw new CodecError('text/plain; charset=utf-8', `expected a string, got ${show(value)}; another codec?`)
    if (value.isWellFormed()) return Buffer.from(value)
    throw new CodecError('text/plain; charset=utf-8', 'a string with half a surrogate pair has no UTF-8 form')
  },
  decode: (bytes: Uint8Array) => decodeUtf8('text/plain; charset=utf-8', bytes),
})

/** Unchanged bytes. They are copied when sent, because the sender may reuse its buffer. */
export const bytesCodec: Codec<Uint8Array> = Object.freeze({
  contentType: 'application/octet-stream',
  encode: (value: Uint8Array) => (value instanceof Uint8Array ? copyOf(value) : value),
  decode: (bytes: Uint8Array) => bytes,
})
