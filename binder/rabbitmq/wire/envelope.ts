import { createHash } from 'node:crypto'
import { newId } from '../../../core/ids.ts'
import type { EncodedMessage, Headers, HeaderValue } from '../../channel/message.ts'
import { bounded, firstInstant, instantOf, unfoldStructured } from '../../transport/foreign-cloud-events.ts'
import type { AmqpMessage, AmqpProperties, AmqpPublishProperties } from '../link/amqplib-types.ts'
import { toPlain } from './content-encoding.ts'
import { fieldType, fieldTypesOf, fromField, TYPES_HEADER, toField, toTypedField } from './fields.ts'
import { asProperty, foreignProperties } from './foreign-properties.ts'

/**
 * Messages as AMQP 0-9-1: CloudEvents 1.0 in binary mode. Attributes are headers `cloudEvents:*` (the spelling `cloudEvents_*` is
 * also read: Spring Cloud Function would copy such headers from its input to its output, so that two outputs would look like one
 * message); `datacontenttype` is the content type property. Message id, timestamp (seconds), type and app id are also set as
 * properties, for people and other clients. Headers of the user are unchanged.
 *
 * Values use AMQP's own types: text, boolean, null and bytes have one each; a whole number is sent as the smallest integer type
 * and any other number as a double (amqplib alone throws on some of them).
 *
 * @see CloudEvents AMQP protocol binding 1.0.2, binary content mode
 */
const ATTRIBUTE = 'cloudEvents:'
/** The spelling of other clients. */
const OTHER_SPELLING = 'cloudEvents_'
/** Form of `cloudEvents:partitionkey` after Spring Cloud Function has passed on the headers of its input. */
const KEY_FROM_SPRING = 'ce-partitionkey'
/** Distinguishes a null body from an empty one, which are equal in AMQP. */
const TOMBSTONE = 'concordat-tombstone'
/** Wraps names that RabbitMQ or amqplib would interpret as their own. */
const ESCAPE = 'concordat-amqp-'

/**
 * Names that a header cannot have on the wire: `CC` and `BCC` route copies (and close the channel if their type is wrong),
 * `__proto__` is lost in amqplib, `concordat-delay-*` is the route of a delayed message (`topology/delay-ladder.ts`),
 * `amqp-types` is ours (`fields.ts`), the others are written by the broker and by other clients. If they arrive without the
 * escape, they are not from the sender and are dropped.
 */
const BROKER_HEADER =
  /^(CC|BCC|__proto__|x-death|x-(first|last)-death-.*|x-delivery-count|x-acquired-count|x-stream-.*|x-opt-.*|x-received-from|concordat-amqp-.*|concordat-delay-.*|amqp-types)$/

/** Arguments of `publish`. @throws TypeError for a time outside of the calendar */
export function toAmqp(
  message: EncodedMessage,
  mandatory: boolean,
): { readonly content: Buffer; readonly options: AmqpPublishProperties } {
  const { id, source, type, time, contentType, body } = message
  const options: AmqpPublishProperties = {
    headers: ownHeaders(message),
    persistent: true,
    mandatory,
  }
  if (contentType !== '') options.contentType = contentType
  if (fitsShortText(id)) options.messageId = id
  if (fitsShortText(type)) options.type = type
  if (fitsShortText(source)) options.appId = source
  if (time >= 0) options.timestamp = Math.floor(time / 1_000)
  writeHeaders(message, options)
  const content = body === null ? EMPTY : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return { content, options }
}

const EMPTY = Buffer.alloc(0)

function ownHeaders(message: EncodedMessage): Record<string, unknown> {
  const headers: Record<string, unknown> = {
    'cloudEvents:specversion': '1.0',
    'cloudEvents:id': message.id,
    'cloudEvents:source': message.source,
    'cloudEvents:type': message.type,
    'cloudEvents:time': isoTime(message.time),
  }
  if (message.key !== null) headers['cloudEvents:partitionkey'] = message.key
  if (message.body === null) headers[TOMBSTONE] = true
  return headers
}

/** The sender's headers, some of them as properties. */
function writeHeaders({ headers, notBefore }: EncodedMessage, options: AmqpPublishProperties): void {
  const types = fieldTypesOf(headers)
  for (const name of Object.keys(headers)) {
    const value = headers[name] as HeaderValue
    const property = asProperty(name, value, notBefore !== undefined)
    if (property !== undefined) Object.assign(options, property)
    else if (types === undefined || name !== TYPES_HEADER)
      options.headers[BROKER_HEADER.test(name) ? ESCAPE + name : name] =
        types?.has(name) === true ? toTypedField(types.get(name), value) : toField(value)
  }
}

/** The last time written, and its form: the messages of a batch often have the same time. */
let lastTime = Number.NaN
let lastIsoTime = ''

function isoTime(time: number): string {
  if (time === lastTime) return lastIsoTime
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) throw new TypeError(`time ${time} is not an instant in epoch ms`)
  lastIsoTime = date.toISOString()
  lastTime = time
  return lastIsoTime
}

function fitsShortText(text: string): boolean {
  return text.length <= 85 || Buffer.byteLength(text) <= 255
}

/** Approximate size of the properties in a frame, never too small. */
export function propertiesBytes(options: AmqpPublishProperties): number {
  let bytes = 2_048
  for (const [name, value] of Object.entries(options.headers)) {
    bytes += Buffer.byteLength(name) + 16
    if (typeof value === 'string') bytes += Buffer.byteLength(value)
    else if (value instanceof Uint8Array) bytes += value.byteLength
  }
  return bytes
}

/** The id with which a message was sent, e.g. for a returned message. */
export function idOf(properties: AmqpProperties): string | undefined {
  const headers = properties.headers ?? {}
  return text(headers['cloudEvents:id']) ?? text(headers['cloudEvents_id']) ?? text(properties.messageId)
}

/**
 * Converts a received message of any origin. Never throws. A message without an id gets a new one at each delivery, so that an
 * inbox cannot recognise its repetitions.
 * @param now epoch ms, for a message without a time
 * @param maxBytes maximum size of a body that another client compressed, after decompression
 */
export function fromAmqp(
  wire: AmqpMessage,
  destination: string,
  now: number,
  maxBytes: number = 16 * 1024 * 1024,
): EncodedMessage {
  const { message, unreadable } = toPlain(wire, maxBytes)
  const { content, properties } = message
  const { attributes, headers, tombstone } = sort(properties.headers ?? {}, foreignProperties(properties))
  const eventId = text(attributes['id'])
  const id = eventId || text(properties.messageId)
  const said = text(attributes['source']) ?? (text(properties.appId) || undefined)
  const madeId = id ? undefined : newId()
  const read = unfoldStructured({
    id: madeId ?? bounded(id ?? ''),
    destination,
    key: text(attributes['partitionkey']) ?? text(properties.headers?.[KEY_FROM_SPRING]) ?? null,
    type: bounded(text(attributes['type']) ?? text(properties.type) ?? destination),
    source: bounded(said !== undefined && (eventId || !isGarbled(id, said)) ? said : sourceOf(wire, id, said)),
    contentType: text(properties.contentType) ?? text(attributes['datacontenttype']) ?? '',
    time: firstInstant(...timesOf(attributes['time'], properties.timestamp), now),
    headers,
    body: tombstone ? null : new Uint8Array(content.buffer, content.byteOffset, content.byteLength),
    ...(unreadable === undefined ? undefined : { unreadable }),
  })
  return read.id === madeId ? { ...read, hasNewId: true } : read
}

const UNKNOWN = 'unknown'

/**
 * Source of a message. An id is unique per sender only. Without a sender's name, a digest of the message replaces it, so that two
 * programs that count from 1 do not share ids; a redelivery has the same digest. Ids that are not UTF-8 get the digest too,
 * because decoding may have made two of them equal.
 */
function sourceOf({ content, properties }: AmqpMessage, id: string | undefined, sender = UNKNOWN): string {
  if (!id) return sender
  const said = createHash('sha256')
    .update(`${text(properties.type) ?? ''}\0`)
    .update(content)
  return `${sender}/${said.digest('hex').slice(0, 32)}`
}

function isGarbled(id = '', sender = ''): boolean {
  return id.includes('\uFFFD') || sender.includes('\uFFFD')
}

/** Separates attributes, by their plain names, from the sender's headers, which include extension attributes. */
function sort(
  wire: Readonly<Record<string, unknown>>,
  foreign: readonly (readonly [string, HeaderValue])[],
): {
  readonly attributes: Readonly<Record<string, unknown>>
  readonly headers: Headers
  readonly tombstone: boolean
} {
  const attributes: Record<string, unknown> = {}
  const extensions: Array<[string, HeaderValue]> = []
  const headers: Array<readonly [string, HeaderValue]> = []
  const types: Array<readonly [string, string]> = []
  let tombstone = false
  const add = (name: string, value: unknown): void => {
    headers.push([name, fromField(value)])
    const type = fieldType(value)
    if (type !== undefined) types.push([name, type])
  }
  for (const [name, value] of Object.entries(wire)) {
    if (name.startsWith(ATTRIBUTE) || name.startsWith(OTHER_SPELLING)) {
      const attribute = name.slice(ATTRIBUTE.length)
      if (name.startsWith(OTHER_SPELLING) && wire[ATTRIBUTE + attribute] !== undefined) continue
      if (KNOWN.has(attribute)) attributes[attribute] = value
      else extensions.push([attribute, fromField(value)])
    } else if (name === TOMBSTONE) tombstone = true
    else if (name.startsWith(ESCAPE)) add(name.slice(ESCAPE.length), value)
    else if (!BROKER_HEADER.test(name)) add(name, value)
  }
  if (types.length > 0) headers.push([TYPES_HEADER, JSON.stringify(Object.fromEntries(types))])
  const all = extensions.length + foreign.length === 0 ? headers : [...extensions, ...headers, ...foreign]
  return { attributes, headers: all.length === 0 ? NO_HEADERS : Object.fromEntries(all), tombstone }
}

const NO_HEADERS: EncodedMessage['headers'] = Object.freeze({})

/** Attributes that have their own field in a message; others (extensions) become headers without the prefix. */
const KNOWN: ReadonlySet<string> = new Set([
  'id',
  'source',
  'type',
  'time',
  'specversion',
  'partitionkey',
  'datacontenttype',
])

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function timesOf(attribute: unknown, seconds: unknown): readonly (number | undefined)[] {
  const own = typeof attribute === 'string' ? instantOf(attribute) : fromField(attribute)
  return [typeof own === 'number' ? own : undefined, typeof seconds === 'number' ? seconds * 1_000 : undefined]
}
