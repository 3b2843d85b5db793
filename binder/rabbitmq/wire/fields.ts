/**
 * Header values as AMQP fields. AMQP has more types than our headers: timestamps become epoch ms, decimals numbers, lists and
 * tables JSON. One more header records the original types, so that dead letters and messages sent back are unchanged on the wire.
 */
import { isUint8Array } from 'node:util/types'
import { parseShallow } from '../../../core/json-depth-limit.ts'
import { AMQP_TYPES } from '../../channel/header-type-hints.ts'
import type { Headers, HeaderValue } from '../../channel/message.ts'
import { UNREADABLE } from '../link/amqplib-types.ts'

export { AMQP_TYPES as TYPES_HEADER }

/** `decimal:2` has two places. */
type FieldType = 'timestamp' | 'json' | `decimal:${number}`

export function toField(value: HeaderValue): unknown {
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : { '!': 'double', value }
  }
  return isUint8Array(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value
}

export function fromField(value: unknown): HeaderValue {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return value
    case 'object':
      return value === null ? null : fromObject(value)
    default:
      return null
  }
}

function fromObject(value: object): HeaderValue {
  if (isUint8Array(value)) return new Uint8Array(value)
  if (isTimestamp(value)) return value.value * 1_000
  if (isDecimal(value)) return signed(value).value.digits / 10 ** value.value.places
  try {
    return JSON.stringify(value, (_, each: unknown) => (isDecimal(each) ? signed(each) : each))
  } catch {
    return UNREADABLE
  }
}

/** Type of a field that `fromField` has to convert. */
export function fieldType(value: unknown): FieldType | undefined {
  if (typeof value !== 'object' || value === null || isUint8Array(value)) return undefined
  if (isTimestamp(value)) return 'timestamp'
  return isDecimal(value) ? `decimal:${value.value.places}` : 'json'
}

/** Content of the header, if it is valid. */
export function fieldTypesOf(headers: Headers): ReadonlyMap<string, unknown> | undefined {
  const text = headers[AMQP_TYPES]
  if (typeof text !== 'string') return undefined
  try {
    const types: unknown = parseShallow(text)
    return typeof types === 'object' && types !== null ? new Map(Object.entries(types)) : undefined
  } catch {
    return undefined
  }
}

/** The original field of a header, if its value is still the same; otherwise converted as usual. */
export function toTypedField(type: unknown, value: HeaderValue): unknown {
  return restored(String(type), value) ?? toField(value)
}

function restored(type: string, value: HeaderValue): unknown {
  if (type === 'json' && typeof value === 'string') return fromJson(value)
  if (typeof value !== 'number') return undefined
  if (type === 'timestamp') return fitting({ '!': 'timestamp', value: value / 1_000 }, value)
  const places = Number(/^decimal:(\d{1,3})$/.exec(type)?.[1])
  return fitting(unsigned({ '!': 'decimal', value: { places, digits: Math.round(value * 10 ** places) } }), value)
}

function fitting(field: object, value: number): object | undefined {
  return isWritable(field) && fromObject(field) === value ? field : undefined
}

function fromJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text, (_, each: unknown) => fieldOf(each))
    return typeof value === 'object' && value !== null && isWritable(value) ? value : undefined
  } catch {
    return undefined
  }
}

function fieldOf(each: unknown): unknown {
  if (isBytes(each)) return Buffer.from(each.data)
  return isDecimal(each) ? unsigned(each) : each
}

/** amqplib writes by recursion. */
const MOST_LEVELS = 32

/** A value in amqplib's typed form must be valid; amqplib throws otherwise. */
function isWritable(value: unknown, levels: number = MOST_LEVELS): boolean {
  if (typeof value !== 'object' || value === null || isUint8Array(value)) return true
  if ('!' in value) {
    if (isTimestamp(value)) return Number.isSafeInteger(value.value) && value.value >= 0
    if (!isDecimal(value)) return false
    const { digits, places } = value.value
    return Number.isInteger(digits) && digits >= 0 && digits < 2 ** 32 && Number.isInteger(places) && places < 256
  }
  return levels > 0 && Object.values(value).every((each) => isWritable(each, levels - 1))
}

interface Timestamp {
  readonly '!': 'timestamp'
  /** Seconds. */
  readonly value: number
}

function isTimestamp(field: object): field is Timestamp {
  return '!' in field && field['!'] === 'timestamp' && 'value' in field && typeof field.value === 'number'
}

interface Decimal {
  readonly '!': 'decimal'
  readonly value: { readonly digits: number; readonly places: number }
}

/** In RabbitMQ and other clients the digits are signed; amqplib reads and writes the same 32 bits without a sign. */
function signed(decimal: Decimal): Decimal {
  const { digits, places } = decimal.value
  const isNegative = Number.isInteger(digits) && digits >= 2 ** 31 && digits < 2 ** 32
  return isNegative ? { '!': 'decimal', value: { digits: digits - 2 ** 32, places } } : decimal
}

function unsigned(decimal: Decimal): Decimal {
  const { digits, places } = decimal.value
  const isNegative = Number.isInteger(digits) && digits < 0 && digits >= -(2 ** 31)
  return isNegative ? { '!': 'decimal', value: { digits: digits + 2 ** 32, places } } : decimal
}

function isDecimal(field: unknown): field is Decimal {
  if (!(typeof field === 'object' && field !== null && '!' in field && field['!'] === 'decimal' && 'value' in field))
    return false
  const { value } = field
  if (!(typeof value === 'object' && value !== null && 'digits' in value && 'places' in value)) return false
  return typeof value.digits === 'number' && typeof value.places === 'number'
}

/** The JSON form of a `Buffer`. */
function isBytes(value: unknown): value is { readonly data: readonly number[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'Buffer' &&
    'data' in value &&
    Array.isArray(value.data)
  )
}
