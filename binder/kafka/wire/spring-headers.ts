/**
 * Types of headers in the format of Spring's Kafka binder: the header `spring_json_header_types`, JSON of names and Java classes.
 * Without it every header is bytes for Spring, and every header of Spring is text here.
 *
 * A header whose class Spring named keeps that class while its value fits it, so that a dead letter, a retry and a redrive look
 * to Spring like the original. Spring writes classes such as `UUID` and `Instant` as JSON text: handlers see them without the
 * quotes, and the wire has the quotes again.
 *
 * @see org.springframework.kafka.support.JsonKafkaHeaderMapper
 */
import { parseShallow } from '../../../core/json-depth-limit.ts'
import { SPRING_TYPES, typesIn } from '../../channel/header-type-hints.ts'
import type { Headers, HeaderValue } from '../../channel/message.ts'

export { SPRING_TYPES }

/** Java classes by the names of headers. */
export type JavaClasses = ReadonlyMap<string, string>

const STRING = 'java.lang.String'
const BOOLEAN = 'java.lang.Boolean'
/** Ranges of classes with whole values. */
const INTEGERS: ReadonlyMap<string, number> = new Map([
  ['java.lang.Byte', 2 ** 7],
  ['java.lang.Short', 2 ** 15],
  ['java.lang.Integer', 2 ** 31],
  ['java.lang.Long', 2 ** 53],
])
const FRACTIONS: ReadonlySet<string> = new Set(['java.lang.Float', 'java.lang.Double'])
/** Java classes whose JSON is a text. */
const TEXTS =
  /^java\.(util\.(UUID|Date|Locale|Currency)|net\.(URI|URL)|time\.(Instant|Local(Date|Time|DateTime)|Offset(Time|DateTime)|ZonedDateTime|Duration|Period|YearMonth|MonthDay|ZoneId|ZoneRegion|ZoneOffset))$/
/** Numbers with more digits than JavaScript represents exactly; these stay text. */
const LONG_TEXT = /^-?\d{16,19}$/

/** Returns the content of the header; `undefined` without it. */
export function readJavaClasses(json: HeaderValue | undefined): JavaClasses | undefined {
  return json === undefined ? undefined : typesIn(json)
}

/** Converts a text of this class to its type here. Text of other classes stays text. */
export function scalarOf(javaClass: string | undefined, text: string): 'number' | 'boolean' | undefined {
  if (javaClass === BOOLEAN) return 'boolean'
  if (javaClass === undefined || !(INTEGERS.has(javaClass) || FRACTIONS.has(javaClass))) return undefined
  return LONG_TEXT.test(text) && !Number.isSafeInteger(Number(text)) ? undefined : 'number'
}

/** Removes JSON's quotes from values of classes that Spring writes with them; other values are unchanged. */
export function withoutQuotes<T>(javaClass: string | undefined, value: T): T | string {
  if (typeof value !== 'string' || !value.startsWith('"') || !isText(javaClass)) return value
  const text = parsed(value)
  return typeof text === 'string' ? text : value
}

/** Reverses `withoutQuotes`; numbers and lists, which some mappers write for dates, had no quotes. */
export function withQuotes(javaClass: string | undefined, value: HeaderValue): HeaderValue {
  if (typeof value !== 'string' || !isText(javaClass) || /^(-?\d+(\.\d+)?|\[.*\]|".*")$/.test(value)) return value
  return JSON.stringify(value)
}

/**
 * Returns the value of the header for a record; `undefined`: none needed.
 * @param headers the sender's
 * @param stated classes received with them
 * @param wire all headers of the record: those of CloudEvents keep the class that a Spring sender gave them
 */
export function springTypesOf(
  headers: Headers,
  stated: JavaClasses | undefined,
  wire: Readonly<Record<string, unknown>>,
): string | undefined {
  const types: Array<readonly [string, string]> = []
  for (const [name, javaClass] of stated ?? [])
    if (javaClass === STRING && !Object.hasOwn(headers, name) && typeof ownOf(wire, name) === 'string')
      types.push([name, STRING])
  for (const [name, value] of Object.entries(headers)) {
    if (name === SPRING_TYPES) continue
    const javaClass = stated?.get(name)
    const type = javaClass !== undefined && fits(javaClass, value) ? javaClass : javaClassOf(value)
    if (type !== undefined) types.push([name, type])
  }
  return types.length === 0 ? undefined : JSON.stringify(Object.fromEntries(types))
}

/** Tells whether a value fits Spring's class: a handler's own value with that name has the class of its own type. */
function fits(javaClass: string, value: HeaderValue): boolean {
  const bound = INTEGERS.get(javaClass)
  if (typeof value === 'number')
    return bound === undefined ? FRACTIONS.has(javaClass) : Number.isInteger(value) && value >= -bound && value < bound
  if (typeof value === 'boolean') return javaClass === BOOLEAN
  if (typeof value !== 'string' || FRACTIONS.has(javaClass) || javaClass === BOOLEAN) return false
  if (bound !== undefined) return javaClass === 'java.lang.Long' && LONG_TEXT.test(value)
  return javaClass === STRING || isText(javaClass) || parsed(value) !== undefined
}

function javaClassOf(value: HeaderValue): string | undefined {
  if (typeof value === 'string') return STRING
  if (typeof value === 'boolean') return BOOLEAN
  if (typeof value !== 'number') return undefined
  if (!Number.isSafeInteger(value)) return 'java.lang.Double'
  return Math.abs(value) < 2 ** 31 ? 'java.lang.Integer' : 'java.lang.Long'
}

function isText(javaClass: string | undefined): boolean {
  return javaClass !== undefined && TEXTS.test(javaClass)
}

function ownOf(record: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

/** Returns `undefined` for text that is not JSON. */
function parsed(json: string): unknown {
  try {
    return parseShallow(json)
  } catch {
    return undefined
  }
}
