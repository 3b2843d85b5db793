/** Messages of AMQP: properties and a table of headers with any of its types. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { hostileBytes, hostileJson, hostileJsonText } from '../hostile.ts'
import { fromAmqp, toAmqp } from '../inside.ts'
import { difference, EVENT, MESSAGES } from '../samples.ts'
import type { Tape } from '../tape.ts'
import { Broken, target } from '../target.ts'

interface Codec {
  readonly encodeTable: (to: Buffer, table: object, at: number) => number
  readonly decodeFields: (bytes: Buffer) => Record<string, unknown>
}

const require = createRequire(import.meta.url)
const { encodeTable, decodeFields } = require(join(dirname(require.resolve('amqplib')), 'lib/codec.js')) as Codec

const SCRATCH = Buffer.alloc(256 * 1_024)

/** Headers that a driver returns after they were encoded and decoded. @throws RangeError when they have no room */
function overTheWire(headers: object): Record<string, unknown> {
  const end = encodeTable(SCRATCH, headers, 0)
  return decodeFields(Buffer.from(SCRATCH.subarray(4, end)))
}

const PROPERTIES = {
  contentType: 'application/json',
  messageId: 'm-1',
  type: 'orders.placed',
  appId: 'shop',
  timestamp: 1_795_334_400,
  replyTo: 'q',
  correlationId: 'c',
  contentEncoding: 'gzip',
  priority: 3,
  expiration: '1000',
}
const HEADERS = {
  ...overTheWire(toAmqp(MESSAGES[0] as never, true).options.headers),
  at: { '!': 'timestamp', value: 1_795_334_400 },
  price: { '!': 'decimal', value: { digits: 1_999, places: 2 } },
  lines: [{ sku: 'a' }],
  'amqp-types': JSON.stringify({ at: 'timestamp', price: 'decimal:2', lines: 'json' }),
  cloudEvents_id: 'e-1',
  'x-death': [{ count: 1 }],
  'concordat-amqp-CC': 'x',
  'concordat-tombstone': true,
}
const object = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}

/** A table has types that JSON has not: what bends JSON makes of a Buffer nothing but a value of another kind. */
function bentTwice(tape: Tape): Record<string, unknown> {
  return { ...object(hostileJson(tape, HEADERS, {})), ...object(hostileJson(tape, {}, HEADERS)) }
}

export const amqpMessage = target({
  name: 'amqp-message',
  about: 'an AMQP message becomes one of ours, and that one an AMQP message again',
  input: (tape) => ({
    content: tape.once(3) ? Buffer.from(hostileJsonText(tape, EVENT)) : hostileBytes(tape, '{"id":1}'),
    properties: hostileJson(tape, PROPERTIES),
    headers: bentTwice(tape),
    types: hostileJsonText(tape, { at: 'timestamp', price: 'decimal:2', lines: 'json' }),
    isStructured: tape.below(6),
  }),
  run({ content, properties, headers, types, isStructured }) {
    const own = object(headers)
    const all = 'amqp-types' in own && isStructured === 4 ? { ...own, 'concordat-amqp-amqp-types': types } : own
    const said = {
      ...object(properties),
      headers: all,
      ...(isStructured === 5 && { contentType: 'application/cloudevents+json' }),
    }
    const message = fromAmqp(
      { content, properties: said, fields: { deliveryTag: 1, redelivered: false } },
      'orders',
      1_000,
    )
    const { options } = toAmqp(message, true)
    let wire: Record<string, unknown>
    try {
      wire = overTheWire(options.headers)
    } catch (error) {
      // Names of more than 255 bytes, and more than a frame: nothing that came over the wire is so.
      if (/must be|out of range|outside buffer|ERR_OUT_OF_RANGE|too long/i.test(String(error))) return
      throw error
    }
    const { headers: _, ...rest } = options
    const back = fromAmqp(
      {
        content: message.body === null ? Buffer.alloc(0) : Buffer.from(message.body),
        properties: { ...rest, headers: wire },
        fields: { deliveryTag: 1, redelivered: false },
      },
      'orders',
      1_000,
    )
    for (const name of ['id', 'key', 'type', 'source', 'contentType'] as const)
      if (back[name] !== message[name] && String(message[name]).isWellFormed())
        throw new Broken(`a message that is sent again is another: ${difference(message, back)}`)
  },
})

const TABLES = [HEADERS, { a: { b: [1, 'x', true, null, { c: 1.5 }] } }].map((table) => {
  const bytes = Buffer.alloc(8_192)
  return Buffer.from(bytes.subarray(4, encodeTable(bytes, table, 0)))
})

export const amqpTable = target({
  name: 'amqp-table',
  about: 'the bytes of a table of headers, as amqplib reads them',
  input: (tape) => hostileBytes(tape, ...TABLES),
  run(bytes) {
    let headers: Record<string, unknown>
    try {
      headers = decodeFields(bytes)
    } catch {
      // amqplib ends the connection, or `surviveHeaders` replaces them by a text.
      return
    }
    const message = fromAmqp(
      { content: Buffer.alloc(0), properties: { headers }, fields: { deliveryTag: 1, redelivered: false } },
      'orders',
      1_000,
    )
    toAmqp(message, false)
  },
})
