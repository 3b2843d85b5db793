import { fieldOf, readable } from './thrown-values.ts'

/**
 * The base of every error that this package throws at run time. Match on `code`, never on the text or the class: two copies of
 * the package in one tree have two classes but one code.
 *
 * Invalid options are a `TypeError` / `RangeError` at construction (see `invalidOption`), not a `ConcordatError`.
 */
export abstract class ConcordatError extends Error {
  /** Stable identifier, `<folder>.<what>`, e.g. `locks.lost`. */
  abstract readonly code: string
  /** True if the same call may succeed later without a change of code, data or configuration. */
  abstract readonly retryable: boolean

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** False only for an error that says so itself (`retryable === false`); all others may be retried. */
export function isRetryable(error: unknown): boolean {
  return fieldOf(error, 'retryable') !== false
}

/** True if `error` has this stable code. */
export function hasCode(error: unknown, code: string): boolean {
  return fieldOf(error, 'code') === code
}

/** Lists the error, its cause, the cause of the cause, and so on: a library may have wrapped the error of a driver. */
export function causesOf(error: unknown): readonly object[] {
  const causes: object[] = []
  for (let each = error; typeof each === 'object' && each !== null && !causes.includes(each); ) {
    causes.push(each)
    each = fieldOf(each, 'cause')
  }
  return causes
}

/**
 * Returns the value itself if it is a readable `Error`, otherwise an `Error` that has it as its `cause` or replaces it. Never
 * throws. Takes over the value's own `message`, `code` and `retryable: false`.
 */
export function toError(thrown: unknown): Error {
  const value = readable(thrown)
  if (value instanceof Error) return value
  const [message, code, retryable] = ['message', 'code', 'retryable'].map((name) => fieldOf(value, name))
  const error = new Error(typeof message === 'string' ? message : textOf(value), { cause: value })
  return Object.assign(error, typeof code === 'string' ? { code } : {}, retryable === false ? { retryable } : {})
}

/** Reads a text field of an error, whatever its program assigned to it. Never throws. */
export function said(error: Error, field: 'name' | 'message' | 'stack'): string {
  try {
    const value: unknown = error[field]
    return typeof value === 'string' ? value : value === undefined ? '' : show(value)
  } catch {
    return ''
  }
}

function textOf(value: unknown): string {
  return typeof value === 'object' && value !== null ? show(value) : String(value)
}

/**
 * A `RangeError` (value out of range) or `TypeError` (wrong type) for an option, with its path, its value and the remedy:
 * `sink("orders").maxAttempts: expected a whole number >= 1, got 0`.
 */
export function invalidOption(path: string, value: unknown, expected: string): TypeError | RangeError {
  const text = `${path}: expected ${expected}, got ${show(value)}`
  return typeof value === 'number' ? new RangeError(text) : new TypeError(text)
}

/** A short, single-line rendering of any value for an error message; never throws, at most 120 characters. */
export function show(value: unknown): string {
  let text: string
  try {
    text = shown(value)
  } catch {
    text = tagOf(value)
  }
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return `function ${value.name}`.trimEnd()
  // JSON has neither NaN nor large whole numbers.
  if (typeof value === 'number') return String(value)
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`
  // JSON writes null for it.
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'Invalid Date'
  return JSON.stringify(value) ?? String(value)
}

function tagOf(value: unknown): string {
  try {
    return Object.prototype.toString.call(value)
  } catch {
    return typeof value
  }
}

/** Checks a whole number in `[min, max]`. @throws RangeError / TypeError with the path */
export function requireInteger(
  path: string,
  value: unknown,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number
  const upper = max === Number.MAX_SAFE_INTEGER ? '' : ` and <= ${max}`
  throw invalidOption(path, value, `a whole number >= ${min}${upper}`)
}

/** Checks a non-empty string. @throws TypeError with the path */
export function requireText(path: string, value: unknown): string {
  if (typeof value === 'string' && value.length > 0) return value
  throw invalidOption(path, value, 'a non-empty string')
}

/**
 * Like `requireText`, for text stored in a row of PostgreSQL: it refuses NUL, and half a surrogate pair would become another
 * character.
 * @throws TypeError with the path
 */
export function requireStorable(path: string, value: unknown): string {
  const text = requireText(path, value)
  if (text.isWellFormed() && !text.includes('\0')) return text
  throw invalidOption(path, value, 'text without NUL and without half a surrogate pair')
}
