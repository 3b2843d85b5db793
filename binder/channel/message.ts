import { copyOf } from '../../core/codec.ts'
import { invalidOption } from '../../core/errors.ts'
import { wrongKind } from '../../core/option-checks.ts'

/** A header value; its type is preserved on every transport. */
export type HeaderValue = string | number | boolean | Uint8Array | null
/** Headers of a message, by name. At most 64 of them, 16 KiB together. */
export type Headers = Readonly<Record<string, HeaderValue>>

/**
 * A message in its sent form: created by `encodeMessage`, stored by the outbox, published by a transport. The payload is encoded,
 * so no schema is needed to handle it.
 */
export interface EncodedMessage {
  /** UUIDv7, or the caller's id. The same message sent again after a crash has the same id. */
  readonly id: string
  /** Destination: a channel's name, on the broker a topic or an exchange. */
  readonly destination: string
  /** Messages with one key keep their order and share a partition; `null` has no order. */
  readonly key: string | null
  /**
   * Original key of another program's message if it is not UTF-8 (Kafka); `key` is then `base64:` and these bytes. Kafka writes
   * them again while `key` is unchanged; other transports write `key`.
   */
  readonly keyBytes?: Uint8Array | undefined
  /** CloudEvents `type`: the name of the channel where it was first sent. */
  readonly type: string
  /** CloudEvents `source`: the sending service. */
  readonly source: string
  /** Media type of `body`; empty if another program wrote it without a type. */
  readonly contentType: string
  /** Time of creation, epoch ms. */
  readonly time: number
  readonly headers: Headers
  /** The encoded payload; `null` is a tombstone. */
  readonly body: Uint8Array | null
  /** Epoch ms before which it is not delivered. On outgoing messages only. @default at once */
  readonly notBefore?: number | undefined
  /**
   * Reason why no codec can read the body of a received message, which is dead-lettered at once without a handler call. Set by
   * the transport, never sent.
   */
  readonly unreadable?: string | undefined
  /** True if the received message has no id, so that each delivery has another one (RabbitMQ). Set by the transport, never sent. */
  readonly hasNewId?: boolean | undefined
}

/** Prefix of headers that this package writes for itself: they never reach a handler or an output. */
export const INTERNAL_PREFIX = 'concordat-'

/**
 * Type of the message that `redrive` appends to the dead letters. Each run removes its own, and every reader ignores one that a
 * killed run left. No channel can have this name.
 */
export const REDRIVE_END = 'concordat.redrive.end'

/**
 * Header with the id of the request that a message answers. A transport that refuses unroutable messages drops such a message
 * instead, because its requester is gone.
 */
export const REPLY_TO_REQUEST = 'reply-to-request'

/** Maximum number of headers of one message; with more it is refused before it is sent. */
export const MAX_HEADERS = 64
/**
 * Maximum size of all headers of one message in bytes, names and values; text counts as UTF-8, a number as 8. Refused as above.
 */
export const MAX_HEADER_BYTES = 16 * 1024

const encoder = new TextEncoder()

/**
 * Checks a caller's headers: names of 1 to 128 visible ASCII characters, none reserved (`concordat-`, `ce_`, `cloudEvents`), at
 * most 64, together at most 16 KiB.
 * @throws TypeError / RangeError naming the header
 */
export function checkHeaders(headers: Headers): void {
  if (typeof headers !== 'object' || headers === null || Symbol.iterator in headers)
    throw wrongKind('headers', headers, 'an object of names and values such as { tenant: "north" }')
  const names = Object.keys(headers)
  if (names.length > MAX_HEADERS) throw invalidOption('headers', names.length, `at most ${MAX_HEADERS} headers`)
  let bytes = 0
  for (const name of names) {
    if (!/^[\x21-\x7e]{1,128}$/.test(name))
      throw invalidOption('headers', name, 'names of 1 to 128 visible ASCII characters')
    if (/^(concordat-|ce_|cloudevents)/i.test(name))
      throw invalidOption(`headers.${name}`, name, 'a name without a reserved prefix (concordat-, ce_, cloudEvents)')
    bytes += name.length + valueBytes(name, headers[name])
  }
  if (bytes > MAX_HEADER_BYTES) throw invalidOption('headers', bytes, `at most ${MAX_HEADER_BYTES} bytes in all`)
}

function valueBytes(name: string, value: unknown): number {
  if (value === null || typeof value === 'boolean') return 1
  if (typeof value === 'string') {
    // Half a surrogate pair has no UTF-8, so the text would change on the wire.
    if (!value.isWellFormed()) throw invalidOption(`headers.${name}`, value, 'a string that has a form in UTF-8')
    return encoder.encode(value).byteLength
  }
  if (typeof value === 'number' && Number.isFinite(value)) return 8
  if (value instanceof Uint8Array) return value.byteLength
  throw invalidOption(`headers.${name}`, value, 'a string, a finite number, a boolean, bytes or null')
}

/** Copies the headers for a handler, which may modify them, without this package's own. */
export function publicHeaders(headers: Headers): Headers {
  const copy: [string, HeaderValue][] = []
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith(INTERNAL_PREFIX)) copy.push([name, value instanceof Uint8Array ? copyOf(value) : value])
  return Object.fromEntries(copy)
}
