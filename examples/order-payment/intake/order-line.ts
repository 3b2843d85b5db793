/** Parses one line of the file into an order or an error text. Never throws. */
import type { z } from 'zod'
import { Order } from '../contracts.ts'

export const MAX_LINE_BYTES = 64 * 1024

export type ParsedLine =
  | { readonly kind: 'order'; readonly order: Order }
  | { readonly kind: 'invalid'; readonly error: string }
  | { readonly kind: 'blank' }

/** @param bytes `undefined` for a line over `MAX_LINE_BYTES` */
export function parseOrderLine(bytes: Uint8Array | undefined): ParsedLine {
  if (bytes === undefined) return invalid(`longer than 64 KiB (${MAX_LINE_BYTES} bytes)`)
  const text = decode(bytes)
  if (text === undefined) return invalid('not UTF-8 text')
  if (text === '') return { kind: 'blank' }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return invalid(`not JSON: ${printable(error instanceof Error ? error.message : String(error), 160)}`)
  }
  const parsed = Order.safeParse(value)
  return parsed.success ? { kind: 'order', order: parsed.data } : invalid(describe(parsed.error.issues, value))
}

function invalid(error: string): ParsedLine {
  return { kind: 'invalid', error }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Decodes UTF-8 and trims white space, including a byte order mark. */
function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes).trim()
  } catch {
    return undefined
  }
}

const MAX_ISSUES = 3

/** Formats `lines[0].quantity: expected a positive integer, got -1`: the first three issues, joined by `; `. */
function describe(issues: readonly z.core.$ZodIssue[], value: unknown): string {
  const texts = issues.slice(0, MAX_ISSUES).map((issue) => {
    const got = 'params' in issue && typeof issue.params?.['got'] === 'string' ? issue.params['got'] : undefined
    return `${pathText(issue.path)}: ${issue.message}, got ${got ?? show(valueAt(value, issue.path))}`
  })
  const more = issues.length - texts.length
  return texts.join('; ') + (more > 0 ? `; and ${more} more` : '')
}

function pathText(path: readonly PropertyKey[]): string {
  const text = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')
  return text === '' ? 'order' : text.replace(/^\./, '')
}

/** Reads own properties only: `lines.constructor` is `undefined`. */
function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, part) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, part)
        ? (at as Record<PropertyKey, unknown>)[part]
        : undefined,
    value,
  )
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  return printable(JSON.stringify(value), 60)
}

function printable(text: string, length: number): string {
  // oxlint-disable-next-line no-control-regex -- these characters would break the message into several lines
  const clean = text.toWellFormed().replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ')
  return clean.length > length ? `${clean.slice(0, length - 3)}...` : clean
}
