import { keptByText } from '../../../core/kept-by-text.ts'
import type { AmqpPublishProperties } from '../link/amqplib-types.ts'

/** Target of a message. */
export interface PublishTarget {
  readonly exchange: string
  readonly routingKey: string
}

export interface PublishFrames {
  /** Its number in the connection. */
  readonly channel: number
  readonly to: PublishTarget
  readonly content: Uint8Array
  readonly options: AmqpPublishProperties
}

const METHOD = 1
const HEADER = 2
const BODY = 3
const FRAME_END = 0xce
/** Type, channel and size before a frame's payload, end mark after it. */
const BEFORE_PAYLOAD = 7
const BASIC = 60
const PUBLISH = 40
const MOST_SHORT_TEXT = 255
/** More than the size of the parts with a fixed size in the three frames. */
const FIXED_BYTES = 160
/** More than the lengths and the type of a header, in addition to its name and value. */
const FIELD_BYTES = 16
/** Maximum number of UTF-8 bytes of a UTF-16 unit. */
const MOST_PER_UNIT = 3

/** Header values that are the same in all messages of a sender or a channel. */
const REPEATED: ReadonlySet<string> = new Set(['cloudEvents:specversion', 'cloudEvents:source', 'cloudEvents:type'])

/**
 * Writes `basic.publish`, its properties and its body like amqplib, byte for byte, but without a buffer for each part, and
 * encodes names of headers, source and type only once.
 * @returns the end of the frames; `undefined` if the buffer is too small, or a value is left to amqplib (nested tables, typed
 * fields, texts that are too long for their field); the written bytes are then invalid
 * @see AMQP 0-9-1 specification, sections 4.2.3 to 4.2.6; amqplib 2, `lib/defs.js` and `lib/codec.js`
 */
export function writePublish(into: Buffer, start: number, frames: PublishFrames): number | undefined {
  const { channel, to, content, options } = frames
  if (start + mostBytes(frames) > into.byteLength) return undefined
  let at = openFrame(into, start, METHOD, channel)
  at = into.writeUInt16BE(BASIC, at)
  at = into.writeUInt16BE(PUBLISH, at)
  at = into.writeUInt16BE(0, at)
  at = shortText(into, at, to.exchange)
  at = shortText(into, at, to.routingKey)
  if (Number.isNaN(at)) return undefined
  into[at++] = options.mandatory ? 1 : 0
  at = endFrame(into, start, at)
  const header = at
  at = openFrame(into, at, HEADER, channel)
  at = into.writeUInt32BE(BASIC << 16, at)
  at = into.writeUInt32BE(0, at)
  at = into.writeUInt32BE(content.byteLength, at)
  at = properties(into, at, options)
  if (Number.isNaN(at)) return undefined
  at = endFrame(into, header, at)
  if (content.byteLength === 0) return at
  const body = at
  at = openFrame(into, at, BODY, channel)
  into.set(content, at)
  return endFrame(into, body, at + content.byteLength)
}

/** An upper limit of the size. */
function mostBytes({ to: { exchange, routingKey }, content, options }: PublishFrames): number {
  const { headers, contentType = '', messageId = '', type = '', appId = '', replyTo = '', correlationId = '' } = options
  const { contentEncoding = '' } = options
  let units = exchange.length + routingKey.length + contentType.length + contentEncoding.length + messageId.length
  units += type.length + appId.length + replyTo.length + correlationId.length
  let bytes = FIXED_BYTES + content.byteLength
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    units += name.length
    bytes += FIELD_BYTES
    if (typeof value === 'string') units += value.length
    else if (value instanceof Uint8Array) bytes += value.byteLength
  }
  return bytes + units * MOST_PER_UNIT
}

function openFrame(into: Buffer, at: number, kind: number, channel: number): number {
  into[at] = kind
  into.writeUInt16BE(channel, at + 1)
  return at + BEFORE_PAYLOAD
}

function endFrame(into: Buffer, start: number, at: number): number {
  into.writeUInt32BE(at - start - BEFORE_PAYLOAD, start + 3)
  into[at] = FRAME_END
  return at + 1
}

/** The list of properties, in their order, after flags for those that are present. `NaN`: one is left to amqplib. */
function properties(into: Buffer, start: number, options: AmqpPublishProperties): number {
  const { contentType, contentEncoding, priority, correlationId, replyTo, messageId, timestamp, type, appId } = options
  const flags =
    flag(contentType, 15) |
    flag(contentEncoding, 14) |
    (1 << 13) |
    (1 << 12) |
    flag(priority, 11) |
    flag(correlationId, 10)
  into.writeUInt16BE(
    flags | flag(replyTo, 9) | flag(messageId, 7) | flag(timestamp, 6) | flag(type, 5) | flag(appId, 3),
    start,
  )
  let at = textProperty(into, start + 2, contentType)
  at = textProperty(into, at, contentEncoding)
  at = table(into, at, options.headers)
  if (Number.isNaN(at)) return at
  into[at++] = options.persistent ? 2 : 1
  if (priority !== undefined) into[at++] = priority
  at = textProperty(into, at, correlationId)
  at = textProperty(into, at, replyTo)
  at = textProperty(into, at, messageId)
  if (timestamp !== undefined && !Number.isNaN(at)) {
    at = into.writeUInt32BE(Math.floor(timestamp / UINT32), at)
    at = into.writeUInt32BE(timestamp % UINT32, at)
  }
  return textProperty(into, textProperty(into, at, type), appId)
}

const UINT32 = 2 ** 32

function flag(value: unknown, bit: number): number {
  return value === undefined ? 0 : 1 << bit
}

function textProperty(into: Buffer, at: number, value: string | undefined): number {
  return value === undefined ? at : shortText(into, at, value)
}

function table(into: Buffer, start: number, headers: Readonly<Record<string, unknown>>): number {
  let at = start + 4
  if (Number.isNaN(at)) return at
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value === undefined) continue
    at = copied(into, at, shortTextBytes(name))
    if (!Number.isNaN(at)) at = field(into, at, value, REPEATED.has(name))
    if (Number.isNaN(at)) return at
  }
  into.writeUInt32BE(at - start - 4, start)
  return at
}

function field(into: Buffer, at: number, value: unknown, isRepeated: boolean): number {
  switch (typeof value) {
    case 'string':
      return isRepeated ? copied(into, at, textFieldBytes(value)) : textField(into, at, value)
    case 'boolean':
      return typed(into, typed(into, at, TYPE.boolean), value ? 1 : 0)
    case 'number':
      return integer(into, at, value)
    default:
      return value === null ? typed(into, at, TYPE.null) : objectField(into, at, value)
  }
}

function typed(into: Buffer, at: number, type: number): number {
  into[at] = type
  return at + 1
}

/** Bytes and doubles. `NaN`: a table, or another type. */
function objectField(into: Buffer, at: number, value: unknown): number {
  if (Buffer.isBuffer(value)) return bytesField(into, at, value)
  const { '!': type, value: number } = value as { readonly '!'?: unknown; readonly value?: unknown }
  if (type !== 'double' || typeof number !== 'number') return Number.NaN
  return into.writeDoubleBE(number, typed(into, at, TYPE.double))
}

const TYPE = {
  text: 0x53,
  boolean: 0x74,
  null: 0x56,
  bytes: 0x78,
  int8: 0x62,
  int16: 0x73,
  int32: 0x49,
  int64: 0x6c,
  double: 0x64,
}

function textField(into: Buffer, at: number, value: string): number {
  into[at] = TYPE.text
  const bytes = into.write(value, at + 5)
  into.writeUInt32BE(bytes, at + 1)
  return at + 5 + bytes
}

function bytesField(into: Buffer, at: number, value: Uint8Array): number {
  into[at] = TYPE.bytes
  into.writeUInt32BE(value.byteLength, at + 1)
  return copied(into, at + 5, value)
}

/** In the smallest width. `NaN`: not an integer. */
function integer(into: Buffer, at: number, value: number): number {
  if (!Number.isSafeInteger(value)) return Number.NaN
  if (value >= -0x80 && value < 0x80) return into.writeInt8(value, typed(into, at, TYPE.int8))
  if (value >= -0x8000 && value < 0x8000) return into.writeInt16BE(value, typed(into, at, TYPE.int16))
  if (value >= -0x80000000 && value < 0x80000000) return into.writeInt32BE(value, typed(into, at, TYPE.int32))
  return into.writeBigInt64BE(BigInt(value), typed(into, at, TYPE.int64))
}

/** `NaN`: too long. */
function shortText(into: Buffer, at: number, value: string): number {
  if (Number.isNaN(at)) return at
  const bytes = into.write(value, at + 1)
  if (bytes > MOST_SHORT_TEXT) return Number.NaN
  into[at] = bytes
  return at + 1 + bytes
}

function copied(into: Buffer, at: number, bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return Number.NaN
  into.set(bytes, at)
  return at + bytes.byteLength
}

const shortTextBytes = keptByText((text) => {
  const bytes = Buffer.byteLength(text)
  if (bytes > MOST_SHORT_TEXT) return undefined
  const made = Buffer.alloc(1 + bytes)
  shortText(made, 0, text)
  return made
})

const textFieldBytes = keptByText((text) => {
  const made = Buffer.alloc(5 + Buffer.byteLength(text))
  textField(made, 0, text)
  return made
})
