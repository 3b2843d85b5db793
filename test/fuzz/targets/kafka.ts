/** Records of Kafka, and the frames that batches are compressed in. */
import { createRequire } from 'node:module'
import { hostileBytes, hostileJsonText, hostileMap, hostileText } from '../hostile.ts'
import {
  decodeLz4Frame,
  decodeRecord,
  decodeXerial,
  encodeLz4Frame,
  encodeRecord,
  encodeXerial,
  type IncomingRecord,
} from '../inside.ts'
import { difference, EVENT, MESSAGES } from '../samples.ts'
import type { Tape } from '../tape.ts'
import { Broken, check, target } from '../target.ts'

function came(record: ReturnType<typeof encodeRecord>): IncomingRecord {
  const headers = Object.entries(record.headers).map(([name, value]) => [name, Buffer.from(value as Buffer)] as const)
  const key = record.key === null ? null : Buffer.from(record.key)
  return { key, value: record.value, timestamp: '1795334400000', offset: '7', headers: Object.fromEntries(headers) }
}

const [full] = MESSAGES.map((message) => came(encodeRecord(message, true))) as [IncomingRecord]
const TYPES = [
  { retries: 'number', raw: 'bytes', none: 'null', urgent: 'boolean' },
  { retries: 'java.lang.Integer', urgent: 'java.lang.Boolean' },
] as const

function header(tape: Tape, sample: Buffer | undefined): Buffer {
  const kind = tape.below(16)
  if (kind === 15) return Buffer.from(hostileJsonText(tape, ...TYPES))
  if (kind === 14) return Buffer.from(hostileText(tape, sample?.toString() ?? 'application/cloudevents+json'))
  return hostileBytes(tape, sample ?? 'x')
}

const SAMPLES = {
  ...(full.headers as Readonly<Record<string, Buffer>>),
  spring_json_header_types: Buffer.from(JSON.stringify(TYPES[1])),
  contentType: Buffer.from('"application/json"'),
}
function without<T>(all: Readonly<Record<string, T>>, name: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(all).filter(([each]) => each !== name))
}

const STRUCTURED = { 'content-type': Buffer.from('application/cloudevents+json') }

export const kafkaRecord = target({
  name: 'kafka-record',
  about: 'a record and its headers become a message, and that one a record again',
  input(tape): IncomingRecord {
    const isStructured = tape.once(5)
    const all = hostileMap(tape, SAMPLES, header)
    // Of the two headers with types, ours comes first, and is left out when it says nothing.
    const headers = without(all, tape.once(2) ? 'concordat-types' : 'spring_json_header_types')
    return {
      key: tape.once(4) ? null : hostileBytes(tape, 'o-1', full.key as Buffer),
      value: tape.once(4)
        ? null
        : isStructured
          ? Buffer.from(hostileJsonText(tape, EVENT))
          : hostileBytes(tape, '{"a":1}'),
      headers: isStructured ? { ...headers, ...STRUCTURED } : headers,
      timestamp: tape.pick(['1795334400000', '-1', '99999999999999999999', '0']),
      offset: '7',
    }
  },
  run(record) {
    const message = decodeRecord('orders', 0, record)
    const again = decodeRecord('orders', 0, came(encodeRecord(message)))
    // A retry or a dead letter carries the message unchanged. Half a surrogate pair, which JSON may hold, has no UTF-8.
    if (!isWellFormed(message)) return
    const found = difference(message, again)
    if (found !== undefined) throw new Broken(`a record that is sent again is another: ${found}`)
  },
})

function isWellFormed({ headers, ...rest }: ReturnType<typeof decodeRecord>): boolean {
  const texts = [...Object.values(rest), ...Object.keys(headers), ...Object.values(headers)]
  return texts.every((each) => typeof each !== 'string' || each.isWellFormed())
}

const require = createRequire(import.meta.url)
const lz4 = require('lz4js') as Parameters<typeof decodeLz4Frame>[0]
const snappy = require('snappyjs') as Parameters<typeof decodeXerial>[0]
const PLAIN = [Buffer.from('{"id":"o-1"}'.repeat(40)), Buffer.from('x'), Buffer.alloc(2_000, 'ab')]
const LZ4 = PLAIN.map((bytes) => encodeLz4Frame(lz4, bytes))
const SNAPPY = [...PLAIN.map((bytes) => encodeXerial(snappy, bytes)), ...PLAIN.map((bytes) => snappy.compress(bytes))]

const MAX_BYTES = 64 * 1024 * 1024

function isBadFrame(error: Error): boolean {
  return error instanceof RangeError && /LZ4|snappy/.test(error.message)
}

export const lz4Frame = target({
  name: 'lz4-frame',
  about: 'a compressed batch of Kafka, LZ4',
  input: (tape) => hostileBytes(tape, ...LZ4),
  run(bytes) {
    const out = decodeLz4Frame(lz4, bytes, MAX_BYTES)
    check(out.byteLength <= 260 * (bytes.byteLength + 64), 'the result is larger than the bytes can hold')
  },
  refuses: isBadFrame,
})

export const snappyFrame = target({
  name: 'snappy-frame',
  about: 'a compressed batch of Kafka, snappy with and without blocks',
  input: (tape) => hostileBytes(tape, ...SNAPPY),
  run(bytes) {
    const out = decodeXerial(snappy, bytes, MAX_BYTES)
    check(out.byteLength <= 64 * (bytes.byteLength + 64), 'the result is larger than the bytes can hold')
  },
  refuses: isBadFrame,
})
