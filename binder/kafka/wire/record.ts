/**
 * `EncodedMessage` <-> Kafka record: CloudEvents 1.0, binary mode. Pure.
 *
 * | part               | holds                                                                        |
 * |--------------------|------------------------------------------------------------------------------|
 * | key, value         | the key in UTF-8 or null; the payload as encoded, null for a tombstone        |
 * | `ce_specversion` `ce_id` `ce_source` `ce_type` `ce_time` | the CloudEvents attributes, time in RFC 3339 |
 * | `ce_partitionkey`  | the key, when there is one                                                   |
 * | `content-type`     | media type of the payload                                                    |
 * | `concordat-types`  | which headers are not strings, as JSON: `{"retries":"number"}`               |
 * | `concordat-headers` `concordat-time` | instead of those below and of `ce_time`: columns of an outbox row (`read-connector-headers.ts`); read, not written |
 * | any other          | the sender's headers under their own names                                   |
 *
 * Kafka headers are bytes. A string is its UTF-8 (lone surrogates become U+FFFD), bytes are themselves, numbers and
 * booleans their decimal and literal text, null is empty; `concordat-types` names those that are not strings (`number`,
 * `boolean`, `bytes`, `null`). A sender's own `content-type` header travels as `concordat-header-content-type`.
 *
 * Foreign records are accepted: without `ce_id` the id is `<topic>/<partition>/<offset>/<timestamp>`, other attributes have
 * defaults; the content type may be in Spring's `contentType`; a header that is not UTF-8 is bytes, a key that is not is
 * `base64:` and its bytes, and goes out again as these bytes; of a repeated header the last one counts; extension attributes are headers without `ce_`. Structured mode is read, not written.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 */
import { isUtf8 } from 'node:buffer'
import { parseShallow } from '../../../core/json-depth-limit.ts'
import type { EncodedMessage, Headers, HeaderValue } from '../../channel/message.ts'
import {
  bounded,
  firstInstant,
  instantOf,
  isInstant,
  isStructured,
  unfoldStructured,
} from '../../transport/foreign-cloud-events.ts'
import type { IncomingHeader, IncomingRecord, OutgoingRecord } from '../driver.ts'
import { isRouters, ROW_HEADERS, ROW_TIME, rowHeaders, rowTime } from './read-connector-headers.ts'
import {
  type JavaClasses,
  readJavaClasses,
  SPRING_TYPES,
  scalarOf,
  springTypesOf,
  withoutQuotes,
  withQuotes,
} from './spring-headers.ts'

const ATTRIBUTE = 'ce_'
const TYPES_HEADER = 'concordat-types'
const CONTENT_TYPE = 'content-type'
/** Header of Spring's Kafka binder; older versions write it as JSON, with quotes. */
const SPRINGS_CONTENT_TYPE = 'contentType'
const ESCAPED_CONTENT_TYPE = 'concordat-header-content-type'
const OWN = new Set([
  'ce_specversion',
  'ce_id',
  'ce_source',
  'ce_type',
  'ce_time',
  'ce_partitionkey',
  'ce_datacontenttype',
  CONTENT_TYPE,
  TYPES_HEADER,
  ROW_HEADERS,
  ROW_TIME,
])
const EMPTY = Buffer.alloc(0)

/**
 * @param forSpring adds the types of the sender's headers in Spring's format
 * @throws RangeError when `time` is not an instant
 */
export function encodeRecord(message: EncodedMessage, forSpring = false): OutgoingRecord {
  const headers: Record<string, Buffer | string> = {
    ce_specversion: '1.0',
    ce_id: message.id,
    ce_source: message.source,
    ce_type: message.type,
    ce_time: instant(message.time),
  }
  if (message.contentType !== '') headers[CONTENT_TYPE] = message.contentType
  if (message.key !== null) headers['ce_partitionkey'] = message.key
  const classes = readJavaClasses(message.headers[SPRING_TYPES])
  let types: Array<[string, string]> | undefined
  for (const name in message.headers) {
    const wireName = name === CONTENT_TYPE ? ESCAPED_CONTENT_TYPE : name
    if (OWN.has(wireName)) continue
    const value = message.headers[name] as HeaderValue
    const type = typeOf(value)
    if (type !== 'string') (types ??= []).push([wireName, type])
    put(headers, wireName, encodeHeader(classes === undefined ? value : withQuotes(classes.get(name), value)))
  }
  if (types !== undefined) headers[TYPES_HEADER] = JSON.stringify(Object.fromEntries(types))
  if (forSpring) putSpringTypes(headers, message.headers, classes)
  return { key: wireKeyOf(message), value: message.body === null ? null : toBuffer(message.body), headers }
}

/** Replaces the received header. Removed headers are not listed. */
function putSpringTypes(
  wire: Record<string, Buffer | string>,
  headers: Headers,
  classes: JavaClasses | undefined,
): void {
  const types = springTypesOf(headers, classes, wire)
  if (types !== undefined) wire[SPRING_TYPES] = types
  else if (classes !== undefined) delete wire[SPRING_TYPES]
}

/**
 * Decodes a record. Never throws: any record of another program becomes a message. Without an id its id is its position and time,
 * because a recreated topic, or another cluster, counts from 0 again.
 */
export function decodeRecord(topic: string, partition: number, record: IncomingRecord): EncodedMessage {
  // Read once, because the reader creates them each time.
  const { key, value, headers: raw = {} } = record
  const springTypes = text(raw[SPRING_TYPES])
  const classes = springTypes === undefined ? undefined : readJavaClasses(springTypes)
  const time = instantOf(attribute(raw, 'ce_time', classes)) ?? rowTime(text(raw[ROW_TIME]))
  const isText = key === null || isUtf8(key)
  const message: EncodedMessage = {
    id: bounded(idOf(raw['ce_id']) || `${topic}/${partition}/${record.offset}/${record.timestamp}`),
    destination: topic,
    key: key === null ? (text(raw['ce_partitionkey']) ?? null) : isText ? key.toString() : keyOf(key),
    type: boundedType(attribute(raw, 'ce_type', classes) ?? topic),
    source: boundedSource(attribute(raw, 'ce_source', classes) ?? `kafka/${topic}`),
    contentType: text(raw[CONTENT_TYPE]) || text(raw['ce_datacontenttype']) || springsContentType(raw) || '',
    time: isInstant(time) ? time : firstInstant(Number(record.timestamp)),
    headers: decodeHeaders(raw, classes),
    body: value === null ? null : toView(value),
    ...(key === null || isText ? undefined : { keyBytes: toView(key) }),
  }
  const unfolded = unfoldStructured(message)
  return unfolded === message ? message : withoutOldContentType(unfolded)
}

/** Most records of a batch have the same type and source as the previous one. */
const boundedType = keepsLast(bounded)
const boundedSource = keepsLast(bounded)

function keepsLast(make: (text: string) => string): (text: string) => string {
  let last: string | undefined
  return (text) => {
    if (text === last) return text
    const made = make(text)
    if (made === text) last = text
    return made
  }
}

function attribute(
  raw: Readonly<Record<string, IncomingHeader>>,
  name: string,
  classes: JavaClasses | undefined,
): string | undefined {
  const value = text(raw[name])
  return classes === undefined ? value : withoutQuotes(classes.get(name), value)
}

/** The old header would claim that a dead letter is an event in structured mode. */
function withoutOldContentType(unfolded: EncodedMessage): EncodedMessage {
  const { [SPRINGS_CONTENT_TYPE]: said, ...headers } = unfolded.headers
  return typeof said === 'string' && isStructured(unquoted(said)) ? { ...unfolded, headers } : unfolded
}

function springsContentType(raw: Readonly<Record<string, IncomingHeader>>): string | undefined {
  const said = text(raw[SPRINGS_CONTENT_TYPE])
  return said === undefined ? undefined : unquoted(said)
}

function unquoted(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text
}

/** Returns the original bytes if the key is still the one derived from them. */
function wireKeyOf({ key, keyBytes }: EncodedMessage): string | Buffer | null {
  if (keyBytes === undefined) return key
  const bytes = toBuffer(keyBytes)
  return key === keyOf(bytes) ? bytes : key
}

/** Decoded like a key: two ids that are not UTF-8 must not become equal, or an inbox would drop the second message. */
function idOf(header: IncomingHeader): string | undefined {
  const id = text(header)
  if (id?.includes('\uFFFD') !== true) return id
  const value = last(header)
  return Buffer.isBuffer(value) ? keyOf(value) : id
}

/** Java writes numbers and Avro as keys, and replacement characters would merge many keys. */
function keyOf(key: Buffer): string {
  return isUtf8(key) ? key.toString() : `base64:${key.toString('base64')}`
}

/** Returns the size on the wire, never too small: varints count at their longest. */
export function recordBytes(record: OutgoingRecord): number {
  let bytes = 32 + (record.key === null ? 0 : Buffer.byteLength(record.key)) + (record.value?.byteLength ?? 0)
  for (const name in record.headers) {
    const nameBytes = OWN.has(name) ? name.length : Buffer.byteLength(name)
    bytes += 10 + nameBytes + Buffer.byteLength(record.headers[name] as Buffer | string)
  }
  return bytes
}

type HeaderType = 'string' | 'number' | 'boolean' | 'bytes' | 'null'

function typeOf(value: HeaderValue): HeaderType {
  if (value === null) return 'null'
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return typeof value as 'string' | 'number' | 'boolean'
  return 'bytes'
}

function encodeHeader(value: HeaderValue): Buffer | string {
  if (value === null) return EMPTY
  if (typeof value === 'object') return toBuffer(value)
  return Object.is(value, -0) ? '-0' : String(value)
}

function decodeHeaders(raw: Readonly<Record<string, IncomingHeader>>, classes: JavaClasses | undefined): Headers {
  const headers: Record<string, HeaderValue> = {}
  const types = decodeTypes(raw[TYPES_HEADER])
  const ofRow = ROW_HEADERS in raw ? rowHeaders(text(raw[ROW_HEADERS]) ?? null) : undefined
  for (const name in raw) {
    if (OWN.has(name) || (ofRow !== undefined && isRouters(name, text(raw[name]), text(raw['ce_id'])))) continue
    const own = name.startsWith(ATTRIBUTE) ? name.slice(ATTRIBUTE.length) : name
    if (own !== name && Object.hasOwn(raw, own)) continue
    const javaClass = classes?.get(name)
    const bytes = last(raw[name])
    const type = types !== undefined ? types[name] : javaClass && scalarOf(javaClass, bytes?.toString() ?? '')
    const decoded = decodeHeader(bytes, type)
    const value = javaClass === undefined ? decoded : withoutQuotes(javaClass, decoded)
    put(headers, own === ESCAPED_CONTENT_TYPE ? CONTENT_TYPE : own, value)
  }
  return ofRow === undefined ? headers : { ...headers, ...ofRow }
}

function decodeTypes(header: IncomingHeader): Readonly<Record<string, unknown>> | undefined {
  const json = text(header)
  if (json === undefined) return undefined
  try {
    const types: unknown = parseShallow(json)
    return typeof types === 'object' && types !== null ? (types as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function decodeHeader(value: Buffer | string | undefined, type: unknown): HeaderValue {
  if (value === undefined || type === 'null') return null
  if (type === 'bytes') return toView(typeof value === 'string' ? Buffer.from(value) : value)
  if (type === 'number' && !Number.isNaN(Number(value.toString()))) return Number(value.toString())
  if (type === 'boolean') return value.toString() === 'true'
  if (typeof value === 'string') return value
  return isUtf8(value) ? value.toString() : toView(value)
}

/** Returns the last of a repeated header, like Kafka's own `lastHeader`. A null value is `undefined`. */
function last(header: IncomingHeader): Buffer | string | undefined {
  return (typeof header === 'object' && !Buffer.isBuffer(header) ? header?.at(-1) : header) ?? undefined
}

function text(header: IncomingHeader): string | undefined {
  return last(header)?.toString()
}

/** A plain assignment to `__proto__` would be lost. */
function put<T>(target: Record<string, T>, name: string, value: T): void {
  if (name === '__proto__')
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })
  else target[name] = value
}

let lastTime = Number.NaN
let lastInstant = ''

/** Cached, because messages of one list mostly share a millisecond. @throws RangeError when it is not an instant */
function instant(time: number): string {
  if (time === lastTime) return lastInstant
  const text = new Date(time).toISOString()
  lastTime = time
  lastInstant = text
  return text
}

/** Returns the same memory as a `Buffer`: a library may write any other byte array as its decimal text. */
function toBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function toView(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
