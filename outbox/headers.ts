import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../binder/message.ts'

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

function headersFromJson(text: string | null): Headers {
  if (text === null) return NO_HEADERS
  const parsed = JSON.parse(text) as Record<string, JsonValue>
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, fromJson(value)]))
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

function fromJson(value: JsonValue): HeaderValue {
  if (typeof value !== 'object' || value === null) return value
  return '$bytes' in value ? new Uint8Array(Buffer.from(value.$bytes, 'base64')) : Number(value.$number)
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
