import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../binder/channel/message.ts'

/**
 * Headers as JSON text, types kept: bytes become `{"$bytes": base64}` and the one number JSON has no form for `{"$number":
 * "-0"}`. The column is `json`, not `jsonb`: `jsonb` refuses the NUL and lone surrogates that a string may hold.
 */
function headersToJson(headers: Headers): string | null {
  const names = Object.keys(headers)
  if (names.length === 0) return null
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, toJson(headers[name] as HeaderValue)])))
}

const NO_HEADERS: Headers = Object.freeze({})

/** @throws TypeError when they are not what `headersToJson` writes */
function headersFromJson(text: string | null): Headers {
  if (text === null) return NO_HEADERS
  const parsed: unknown = JSON.parse(text)
  if (!isPlain(parsed)) throw new TypeError(`headers: expected a JSON object or NULL, got ${text.slice(0, 100)}`)
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, fromJson(name, value)]))
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Among the headers of a row: when a delayed message is due. The relay hands it to the broker, which waits. */
const NOT_BEFORE = `${INTERNAL_PREFIX}not-before`

/** The headers column of a message. */
export function headersColumn({ headers, notBefore }: EncodedMessage): string | null {
  return headersToJson(notBefore === undefined ? headers : { ...headers, [NOT_BEFORE]: notBefore })
}

/** What a headers column says of a message. */
export function fromHeadersColumn(text: string | null): Pick<EncodedMessage, 'headers' | 'notBefore'> {
  const all = headersFromJson(text)
  const notBefore = all[NOT_BEFORE]
  if (typeof notBefore !== 'number') return { headers: all }
  const { [NOT_BEFORE]: _due, ...headers } = all
  return { headers, notBefore }
}

type JsonValue = string | number | boolean | null | { readonly $bytes: string } | { readonly $number: string }

function toJson(value: HeaderValue): JsonValue {
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) }
  if (Object.is(value, -0)) return { $number: '-0' }
  return value
}

function fromJson(name: string, value: unknown): HeaderValue {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value
  const { $bytes: bytes, $number: number } = isPlain(value) ? value : {}
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'base64'))
  if (typeof number === 'string') return Number(number)
  throw new TypeError(`headers.${name}: expected text, a number, a boolean, null or {"$bytes": base64}`)
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
