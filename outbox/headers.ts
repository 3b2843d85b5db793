import { headerFromJson, headerToJson, isJsonObject } from '../binder/channel/json-header.ts'
import { type EncodedMessage, type Headers, type HeaderValue, INTERNAL_PREFIX } from '../binder/channel/message.ts'

/**
 * Headers as JSON text, types kept. The column is `json`, not `jsonb`: `jsonb` refuses the NUL and lone surrogates that a string may hold.
 */
function headersToJson(headers: Headers): string | null {
  const names = Object.keys(headers)
  if (names.length === 0) return null
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, headerToJson(headers[name] as HeaderValue)])))
}

const NO_HEADERS: Headers = Object.freeze({})

/** @throws TypeError when they are not what `headersToJson` writes */
function headersFromJson(text: string | null): Headers {
  if (text === null) return NO_HEADERS
  const parsed: unknown = JSON.parse(text)
  if (!isJsonObject(parsed)) throw new TypeError(`headers: expected a JSON object or NULL, got ${text.slice(0, 100)}`)
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, fromJson(name, value)]))
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

function fromJson(name: string, value: unknown): HeaderValue {
  const header = headerFromJson(value)
  if (header !== undefined) return header
  throw new TypeError(`headers.${name}: expected text, a number, a boolean, null or {"$bytes": base64}`)
}
