import type { EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import type { HeaderValue } from '../../../support/inside/binder.ts'
import { decodeRecord, encodeRecord, type IncomingRecord, recordBytes } from '../inside.ts'
import { plainMessage } from '../kit.ts'

/** Message as the receiving side gets it: every header as bytes. */
function travelled(message: EncodedMessage): IncomingRecord {
  const { key, value, headers } = encodeRecord(message)
  return {
    key: key === null ? null : Buffer.from(key),
    value,
    timestamp: '1700000000000',
    offset: '42',
    headers: Object.fromEntries(Object.entries(headers).map(([name, each]) => [name, Buffer.from(each)])),
  }
}

const headerValue: fc.Arbitrary<HeaderValue> = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.maxSafeInteger(),
)

const headerName = fc.oneof(
  fc
    .string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), minLength: 1 })
    .filter((name) => !/^(concordat-|ce_|cloudevents)/i.test(name)),
  fc.constantFrom('content-type', 'Content-Type', '__proto__', 'constructor', 'traceparent', 'concordat-replay'),
)

const message: fc.Arbitrary<EncodedMessage> = fc.record(
  {
    id: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
    destination: fc.constant('orders.placed'),
    key: fc.option(fc.string({ unit: 'grapheme', maxLength: 60 }), { nil: null }),
    type: fc.string({ unit: 'grapheme', maxLength: 60 }),
    source: fc.string({ unit: 'grapheme', maxLength: 60 }),
    contentType: fc.constantFrom('application/json', 'application/octet-stream', 'text/plain; charset=utf-8', ''),
    time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.getTime()),
    headers: fc.array(fc.tuple(headerName, headerValue), { maxLength: 8 }).map(Object.fromEntries),
    body: fc.option(fc.uint8Array({ maxLength: 100 }), { nil: null }),
  },
  { noNullPrototype: true },
)

/** Headers as Spring's binder writes them: class and text by name. */
function ofSpring(headers: Readonly<Record<string, readonly [string, string]>>) {
  const types = Object.fromEntries(Object.entries(headers).map(([name, [javaClass]]) => [name, javaClass]))
  const values = Object.entries(headers).map(([name, [, value]]) => [name, Buffer.from(value)] as const)
  const said = ['spring_json_header_types', Buffer.from(JSON.stringify(types))] as const
  return { types, raw: Object.fromEntries([...values, said]) }
}

describe('Kafka record', () => {
  it('brings every message back as it was', ({ expect }) => {
    fc.assert(
      fc.property(message, (each) => {
        expect(decodeRecord('orders.placed', 3, travelled(each))).toEqual(each)
      }),
    )
  })

  it('is never larger than its estimate', ({ expect }) => {
    fc.assert(
      fc.property(message, (each) => {
        const record = encodeRecord(each)
        const headers = Object.entries(record.headers)
        const content = headers.reduce(
          (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
          0,
        )
        const least = content + Buffer.byteLength(record.key ?? '') + (record.value?.byteLength ?? 0)
        expect(recordBytes(record)).toBeGreaterThanOrEqual(least + 2 * headers.length + 12)
      }),
    )
  })

  it('is a CloudEvent in binary mode', ({ expect }) => {
    const record = encodeRecord(plainMessage({ id: 'm1', key: 'order-7', headers: { retries: 3, urgent: true } }))
    expect(record.key).toBe('order-7')
    expect(record.headers).toEqual({
      ce_specversion: '1.0',
      ce_id: 'm1',
      ce_source: 'tests',
      ce_type: 'orders.placed',
      ce_time: '2026-11-20T08:00:00.250Z',
      ce_partitionkey: 'order-7',
      'content-type': 'application/json',
      retries: '3',
      urgent: 'true',
      'concordat-types': '{"retries":"number","urgent":"boolean"}',
    })
  })

  it('keeps ids apart that are not UTF-8', ({ expect }) => {
    const ids = [[0xff], [0xfe], [0xef, 0xbf, 0xbd]].map((bytes) => {
      const record = { key: null, value: null, timestamp: '0', offset: '7', headers: { ce_id: Buffer.from(bytes) } }
      return decodeRecord('orders', 0, record).id
    })
    expect(ids).toEqual(['base64:/w==', 'base64:/g==', '\uFFFD'])
  })

  it('distinguishes a tombstone from an empty payload', ({ expect }) => {
    expect(encodeRecord(plainMessage({ body: null })).value).toBeNull()
    expect(encodeRecord(plainMessage({ body: new Uint8Array() })).value).toHaveLength(0)
  })

  it('hands kafkajs Buffers over the same memory', ({ expect }) => {
    const memory = new Uint8Array([9, 1, 2, 3, 9])
    const record = encodeRecord(plainMessage({ body: memory.subarray(1, 4), headers: { raw: memory.subarray(2, 4) } }))
    expect(Buffer.isBuffer(record.value)).toBe(true)
    expect(record.value).toEqual(Buffer.from([1, 2, 3]))
    expect(record.headers['raw']).toEqual(Buffer.from([2, 3]))
  })

  it('has no form for a time that is no instant', ({ expect }) => {
    expect(() => encodeRecord(plainMessage({ time: Number.NaN }))).toThrow(RangeError)
  })
})

describe('foreign Kafka record', () => {
  const foreign = (fields: Partial<IncomingRecord> = {}): IncomingRecord => ({
    key: null,
    value: Buffer.from('hi'),
    timestamp: '1700000000000',
    offset: '42',
    ...fields,
  })

  it('is named after its place and time: a topic that is made anew counts from 0 again', ({ expect }) => {
    expect(decodeRecord('plain', 3, foreign())).toEqual({
      id: 'plain/3/42/1700000000000',
      destination: 'plain',
      key: null,
      type: 'plain',
      source: 'kafka/plain',
      contentType: '',
      time: 1_700_000_000_000,
      headers: {},
      body: new Uint8Array([104, 105]),
    })
  })

  it('loses its foreign content type as a dead letter, and when it is sent back', ({ expect }) => {
    const headers = encodeRecord(decodeRecord('plain', 3, foreign())).headers
    expect(headers).not.toHaveProperty('content-type')
  })

  it('keeps the last of a repeated header, null headers, bytes and extension attributes', ({ expect }) => {
    const headers = {
      trace: [Buffer.from('a'), Buffer.from('b')],
      nothing: null as never,
      raw: Buffer.from([0xff, 0xfe]),
      ce_subject: Buffer.from('order 7'),
      many: [],
    }
    expect(decodeRecord('plain', 0, foreign({ headers })).headers).toEqual({
      trace: 'b',
      nothing: null,
      raw: new Uint8Array([0xff, 0xfe]),
      subject: 'order 7',
      many: null,
    })
  })

  it('never fails to become a message', ({ expect }) => {
    const bytes = fc.uint8Array({ maxLength: 30 }).map((each) => Buffer.from(each))
    const names = fc.oneof(
      fc.string({ maxLength: 10 }),
      fc.constantFrom('concordat-types', 'ce_id', 'ce_time', 'content-type', 'concordat-header-content-type'),
    )
    const headers = fc.array(fc.tuple(names, fc.oneof(bytes, fc.array(bytes), fc.constant(null as never))))
    fc.assert(
      fc.property(headers, fc.option(bytes, { nil: null }), (pairs, key) => {
        const record = foreign({ headers: Object.fromEntries(pairs), key })
        const { id, time } = decodeRecord('plain', 0, record)
        expect([typeof id, Number.isFinite(time)]).toEqual(['string', true])
      }),
    )
  })

  it.for([
    ['text/plain', 'text/plain'],
    // The quoted form is the one that older versions of Spring write.
    ['"text/plain;charset=UTF-8"', 'text/plain;charset=UTF-8'],
  ] as const)('has the content type of Spring’s contentType header: %s', ([said, expected], { expect }) => {
    const decoded = decodeRecord('t', 0, foreignRecord({ contentType: Buffer.from(said) }))
    expect(decoded.contentType).toBe(expected)
    expect(travelled(decoded).headers).toMatchObject({ 'content-type': Buffer.from(expected) })
    const both = { contentType: Buffer.from('text/plain'), 'content-type': Buffer.from('application/json') }
    expect(decodeRecord('t', 0, foreignRecord(both)).contentType).toBe('application/json')
  })

  it('is unfolded when Spring marks it as a structured CloudEvent, and loses the mark', ({ expect }) => {
    const event = { specversion: '1.0', id: 'e-1', source: '/spring', type: 'placed', data: { n: 1 } }
    const contentType = Buffer.from('application/cloudevents+json')
    const decoded = decodeRecord('t', 0, {
      ...foreignRecord({ contentType }),
      value: Buffer.from(JSON.stringify(event)),
    })
    expect(decoded).toMatchObject({ id: 'e-1', source: '/spring', contentType: 'application/json', headers: {} })
    expect(Buffer.from(decoded.body ?? []).toString()).toBe('{"n":1}')
  })

  it('has the header types of Spring’s header', ({ expect }) => {
    const types = {
      retries: 'java.lang.Integer',
      vip: 'java.lang.Boolean',
      price: 'java.lang.Double',
      tenant: 'java.lang.String',
      big: 'java.lang.Long',
      list: 'java.util.ArrayList',
      broken: 'java.lang.Integer',
    }
    const said = {
      retries: '7',
      vip: 'true',
      price: '1.5',
      tenant: '7',
      big: '9007199254740993',
      list: '[1]',
      broken: 'x',
    }
    const raw = Object.fromEntries(Object.entries(said).map(([name, value]) => [name, Buffer.from(value)]))
    const { headers } = decodeRecord(
      't',
      0,
      foreignRecord({ ...raw, spring_json_header_types: Buffer.from(JSON.stringify(types)) }),
    )
    expect(headers).toMatchObject({ ...said, retries: 7, vip: true, price: 1.5 })
    const again = decodeRecord('t', 0, foreignRecord({ ...raw, spring_json_header_types: Buffer.from('nonsense') }))
    expect(again.headers).toMatchObject(said)
  })

  it('writes the header types for Spring on request', ({ expect }) => {
    const headers = { tenant: 'acme', n: 7, big: 2 ** 40, part: 0.5, vip: false, raw: new Uint8Array(1), none: null }
    const json = encodeRecord(plainMessage({ headers }), true).headers['spring_json_header_types']
    expect(JSON.parse(String(json))).toEqual({
      tenant: 'java.lang.String',
      n: 'java.lang.Integer',
      big: 'java.lang.Long',
      part: 'java.lang.Double',
      vip: 'java.lang.Boolean',
    })
    expect(encodeRecord(plainMessage({ headers })).headers).not.toHaveProperty('spring_json_header_types')
  })

  it('keeps the Java class of a header whose value still fits it, and drops those of missing headers', ({ expect }) => {
    const { types, raw } = ofSpring({
      uuid: ['java.util.UUID', '"00000000-0000-4000-8000-000000000001"'],
      at: ['java.time.Instant', '"2026-01-02T03:04:05Z"'],
      dec: ['java.math.BigDecimal', '12.34'],
      sh: ['java.lang.Short', '-7'],
      b: ['java.lang.Byte', '-5'],
      f: ['java.lang.Float', '1.5'],
      big: ['java.lang.Long', '9007199254740993'],
      list: ['java.util.ArrayList', '[1,"two"]'],
      map: ['java.util.HashMap', '{"a":1}'],
      tenant: ['java.lang.String', 'größe'],
      ce_type: ['java.lang.String', 'placed'],
      gone: ['java.util.UUID', '"x"'],
    })
    const decoded = decodeRecord('t', 0, foreignRecord(raw))
    const { gone: _, ...kept } = decoded.headers
    const letter = { ...decoded, headers: { ...kept, 'dead-letter-attempts': 3, sh: 40_000, map: 'changed' } }
    const wire = encodeRecord(letter, true).headers
    const { gone: __, ...expected } = types
    expect(JSON.parse(String(wire['spring_json_header_types']))).toEqual({
      ...expected,
      'dead-letter-attempts': 'java.lang.Integer',
      sh: 'java.lang.Integer',
      map: 'java.lang.String',
    })
    for (const name of ['uuid', 'at', 'dec', 'b', 'f', 'big', 'list', 'tenant'])
      expect(String(wire[name])).toBe(String(raw[name]))
    const back = decodeRecord('t', 0, foreignRecord(wire))
    const again = encodeRecord({ ...back, headers: { uuid: back.headers['uuid'] as string } }, true).headers
    expect(again['spring_json_header_types']).toBe('{"uuid":"java.lang.String"}')
  })

  it('reads what Spring writes as JSON text without the quotes, and writes them again', ({ expect }) => {
    const { raw } = ofSpring({
      uuid: ['java.util.UUID', '"00000000-0000-4000-8000-000000000001"'],
      day: ['java.time.LocalDate', '[2026,1,2]'],
      date: ['java.util.Date', '1700000000000'],
      uri: ['java.net.URI', '"/a\\"b"'],
      text: ['java.lang.String', '"quoted"'],
      ce_source: ['java.net.URI', '"/svc"'],
      ce_time: ['java.time.OffsetDateTime', '"2026-01-02T03:04:05Z"'],
    })
    const decoded = decodeRecord('t', 0, foreignRecord(raw))
    expect(decoded).toMatchObject({ source: '/svc', time: Date.UTC(2026, 0, 2, 3, 4, 5) })
    expect(decoded.headers).toMatchObject({
      uuid: '00000000-0000-4000-8000-000000000001',
      day: '[2026,1,2]',
      date: '1700000000000',
      uri: '/a"b',
      text: '"quoted"',
    })
    for (const forSpring of [false, true]) {
      const wire = encodeRecord({ ...decoded, headers: { ...decoded.headers, n: 1 } }, forSpring).headers
      for (const name of ['uuid', 'day', 'date', 'uri', 'text']) expect(String(wire[name])).toBe(String(raw[name]))
      expect(decodeRecord('t', 0, foreignRecord(wire)).headers).toMatchObject({ uuid: decoded.headers['uuid'] })
    }
  })

  it('writes no types for Spring when no header with a class is left', ({ expect }) => {
    const headers = { spring_json_header_types: '{"gone":"java.util.UUID"}' }
    expect(encodeRecord(plainMessage({ headers }), true).headers).not.toHaveProperty('spring_json_header_types')
    expect(encodeRecord(plainMessage({ headers })).headers).toHaveProperty('spring_json_header_types')
  })

  it('keeps a key that is not UTF-8 as bytes until the message gets another key', ({ expect }) => {
    const key = Buffer.from([0xff, 0xfe, 0])
    const decoded = decodeRecord('t', 0, { ...foreignRecord({}), key })
    expect(decoded.key).toBe('base64://4A')
    expect(encodeRecord({ ...decoded, destination: 't.g.dlq' }).key).toEqual(key)
    expect(encodeRecord({ ...decoded, key: 'another' }).key).toBe('another')
    expect(encodeRecord(plainMessage({ key: 'base64://4A' })).key).toBe('base64://4A')
  })

  it('reads a record whose Spring types name a property of every object', ({ expect }) => {
    const types = '{"__proto__":"java.lang.Integer","toString":"java.lang.Boolean","n":"java.lang.Integer"}'
    const headers = { n: Buffer.from('1'), spring_json_header_types: Buffer.from(types) }
    expect(decodeRecord('t', 0, foreignRecord(headers)).headers).toEqual({ n: 1, spring_json_header_types: types })
  })

  it('ignores an empty media type, also when the message is passed on', ({ expect }) => {
    const headers = { 'content-type': Buffer.alloc(0), contentType: Buffer.from('text/plain') }
    const decoded = decodeRecord('t', 0, foreignRecord(headers))
    expect(decoded.contentType).toBe('text/plain')
    expect(decodeRecord('t', 0, travelled(decoded)).contentType).toBe('text/plain')
  })
})

const foreignRecord = (headers: IncomingRecord['headers'] & object): IncomingRecord => ({
  key: null,
  value: Buffer.from('hello'),
  timestamp: '1700000000000',
  offset: '42',
  headers,
})
