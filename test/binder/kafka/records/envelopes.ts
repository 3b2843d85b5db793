import fc from 'fast-check'
import { type Envelope, recordBytes } from '../inside.ts'

const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each))
const text = fc.oneof(fc.string({ maxLength: 200 }), fc.string({ unit: 'grapheme', maxLength: 80 }))
/**
 * Distinct names, as in an object; the wire has no lone surrogates. kafkajs takes a name that every object inherits for
 * a repeated one.
 */
const headers = fc.dictionary(
  fc.string({ unit: 'grapheme', maxLength: 90 }).filter((name) => !(name in Object.prototype)),
  fc.oneof(text, bytes),
  { maxKeys: 12 },
)
const envelope = fc
  .record({ key: fc.oneof(fc.constant(null), text, bytes), value: fc.oneof(fc.constant(null), bytes), headers })
  .map((record): Envelope => ({ ...record, topic: 't', bytes: recordBytes(record), index: 0, place: 0 }))

/** Records of one partition that are to be written. */
export const envelopes = fc.array(envelope, { minLength: 1, maxLength: 40 })

/** A record without what only one side of the wire knows. */
export function plain(record: {
  readonly key: unknown
  readonly value: unknown
  readonly headers?: object | undefined
}) {
  return {
    key: toBytes(record.key),
    value: toBytes(record.value),
    headers: new Map(Object.entries(record.headers ?? {}).map(([name, value]) => [name, toBytes(value)])),
  }
}

function toBytes(value: unknown): Buffer | null {
  return value === null || value === undefined ? null : Buffer.from(value as string)
}
