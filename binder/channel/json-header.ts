/**
 * Header values as JSON, types kept: bytes become `{"$bytes": base64}`, and the one number that JSON has no form for
 * `{"$number": "-0"}`. Part of what lies in tables: never change a form.
 */
import type { HeaderValue } from './message.ts'

type JsonHeader = string | number | boolean | null | { readonly $bytes: string } | { readonly $number: string }

export function headerToJson(value: HeaderValue): JsonHeader {
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) }
  return Object.is(value, -0) ? { $number: '-0' } : value
}

/** `undefined` for what `headerToJson` does not write. */
export function headerFromJson(value: unknown): HeaderValue | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  // JSON may say 1e999.
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  const { $bytes: bytes, $number: number } = isJsonObject(value) ? value : {}
  if (typeof bytes === 'string') return new Uint8Array(Buffer.from(bytes, 'base64'))
  return number === '-0' ? -0 : undefined
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
