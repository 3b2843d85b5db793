import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { mendHeaderDecoding } from '../../inside.ts'

const require = createRequire(import.meta.url)
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (buffer: Buffer) => { offset: number }
const decodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0/decoder.js') as (
  decoder: object,
  batch: object,
) => { readonly headers: Readonly<Record<string, unknown>> }

type Header = readonly [name: string | null, value: Buffer | null]

function varInt(value: number): number[] {
  const bytes = []
  let rest = value >= 0 ? value * 2 : -value * 2 - 1
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128)
  return [...bytes, rest]
}

function bytesOf(value: Buffer | string | null): number[] {
  if (value === null) return varInt(-1)
  const bytes = Buffer.from(value as string)
  return [...varInt(bytes.length), ...bytes]
}

/** A record of Kafka without key and value: attributes, deltas, then the headers. */
function recordOf(headers: readonly Header[]): Buffer {
  const list = headers.flatMap(([name, value]) => [...bytesOf(name), ...bytesOf(value)])
  return Buffer.from([0, 0, 0, ...varInt(-1), ...varInt(-1), ...varInt(headers.length), ...list])
}

function decode(record: Buffer): { headers: Readonly<Record<string, unknown>>; end: number } {
  const decoder = new Decoder(record)
  const { headers } = decodeRecord(decoder, { firstOffset: '0', firstTimestamp: '0' })
  return { headers, end: decoder.offset }
}

const names = fc.oneof(
  fc.constantFrom('ce_id', 'ce_time', 'a', 'b', '', '0', null),
  fc.string({ unit: 'grapheme', maxLength: 80 }).filter((name) => !(name in Object.prototype)),
)
const values = fc.option(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)))
const lists = fc.array(fc.tuple(names, values), { maxLength: 50 })

it('reads the headers of a record as kafkajs does', () => {
  const records = [
    recordOf([]),
    ...fc.sample(lists, 400).map(recordOf),
    // The same names in the same order, as records of one topic have them, then one that differs in a letter.
    ...['ce_id', 'ce_id', 'ce_ie', 'ce_i', 'ce_id'].map((name) => recordOf([[name, Buffer.from('1')]])),
  ]
  const expected = records.map(decode)
  expect(mendHeaderDecoding()).toBe(true)
  expect(records.map(decode)).toStrictEqual(expected)
  expect(mendHeaderDecoding()).toBe(true)
})

it('reads 10 000 headers in one pass', () => {
  expect(mendHeaderDecoding()).toBe(true)
  const headers = Array.from({ length: 10_000 }, (_, n): Header => [`header-${n % 5_000}`, Buffer.from(String(n))])
  const { headers: read } = decode(recordOf(headers))
  expect(Object.keys(read)).toHaveLength(5_000)
  expect(read['header-7']).toEqual([Buffer.from('7'), Buffer.from('5007')])
})

it('takes no name of a header for a property that every object has, as kafkajs does', () => {
  expect(mendHeaderDecoding()).toBe(true)
  const value = Buffer.from('1')
  const { headers } = decode(
    recordOf(['__proto__', 'constructor', '__proto__', 'toString'].map((name) => [name, value])),
  )
  expect(Object.entries(headers)).toEqual([
    ['__proto__', [value, value]],
    ['constructor', value],
    ['toString', value],
  ])
})
