/**
 * Header values as JSON, with their types: bytes become `{"$bytes": base64}`, and the only number without a JSON form
 * `{"$number": "-0"}`. Stored in tables: never change a form.
 */
import { isShallow, MOST_LEVELS } from '../../core/json-depth-limit.ts'
import type { Headers, HeaderValue } from './message.ts'

type JsonHeader = string | number | boolean | null | { readonly $bytes: string } | { readonly $number: string }

export function headerToJson(value: HeaderValue): JsonHeader {
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) }
  return Object.is(value, -0) ? { $number: '-0' } : value
}

/** Returns `undefined` for values that `headerToJson` never writes. */
export function headerFromJson(value: unknown): HeaderValue | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  // JSON may contain 1e999.
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  const { $bytes: bytes, $number: number } = isJsonObject(value) ? value : {}
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'base64'))
  return number === '-0' ? -0 : undefined
}

/** Returns all headers of a message as one JSON object; `null` without headers. */
export function headersToJson(headers: Headers): string | null {
  const names = Object.keys(headers)
  if (names.length === 0) return null
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, headerToJson(headers[name] as HeaderValue)])))
}

const NO_HEADERS: Headers = Object.freeze({})

/** @throws SyntaxError, TypeError when the text was not written by `headersToJson` */
export function headersFromJson(text: string | null): Headers {
  if (text === null) return NO_HEADERS
  if (!isShallow(text)) throw new TypeError(`headers: expected at most ${MOST_LEVELS} levels of JSON`)
  const parsed: unknown = JSON.parse(text)
  if (!isJsonObject(parsed)) throw new TypeError(`headers: expected a JSON object or NULL, got ${text.slice(0, 100)}`)
  return Object.fromEntries(Object.entries(parsed).map(([name, value]) => [name, fromJson(name, value)]))
}

function fromJson(name: string, value: unknown): HeaderValue {
  const header = headerFromJson(value)
  if (header !== undefined) return header
  throw new TypeError(`headers.${name}: expected text, a number, a boolean, null or {"$bytes": base64}`)
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
