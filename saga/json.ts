/** JSON as stored in the database: inputs and results have this form when they are read. */
import { createHash } from 'node:crypto'
import { CodecError } from '../core/codec.ts'
import { toError } from '../core/errors.ts'
import { SagaError } from './errors.ts'

/**
 * Type of `T` after a round trip through JSON: a `Date` is a string, functions are absent. Results have this type, because after
 * a takeover another process reads them.
 */
export type Stored<T> = unknown extends T
  ? unknown
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(): infer J }
      ? J
      : T extends (...args: never[]) => unknown
        ? never
        : T extends object
          ? { readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? never : K]: Stored<T[K]> }
          : undefined

/** Escapes of NUL and of lone surrogates, which PostgreSQL's jsonb refuses; an escaped backslash before them is text. */
const UNSTORABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i

/**
 * Returns the value after a round trip through JSON, as the store keeps it.
 * @param subject names the value in error messages
 * @throws `saga.payload_too_large`; CodecError when it has no JSON form (a bigint, a cycle) or contains text that PostgreSQL
 * cannot store
 */
export function stored(subject: string, value: unknown, maxBytes: number): unknown {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new CodecError('application/json', `${subject} has no JSON form: ${toError(cause).message}`, { cause })
  }
  if (text === undefined) return undefined
  // A character has at most three bytes of UTF-8, so only long texts need to be counted.
  if (text.length * 3 > maxBytes) requireFits(subject, Buffer.byteLength(text), maxBytes)
  if (!isStorable(text)) {
    throw new CodecError('application/json', `${subject} holds a NUL or half a surrogate pair, which cannot be stored`)
  }
  return JSON.parse(text)
}

/** False: PostgreSQL's jsonb refuses this JSON because of a NUL or half a surrogate pair. */
export function isStorable(json: string): boolean {
  return !UNSTORABLE.test(json)
}

function requireFits(subject: string, bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) throw new SagaError('saga.payload_too_large', { subject, bytes, maxBytes })
}

/** Returns JSON with sorted keys: equal values give equal text. Takes results of `stored`. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
}

/** Returns the sha-256 of the canonical JSON, in hex. */
export function hashJson(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex')
}
