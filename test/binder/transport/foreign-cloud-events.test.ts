import { decodePayload, defineChannel, type EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside; through brokers: cloud-events.int.test.ts
import {
  bounded,
  firstInstant,
  instantOf,
  isStructured,
  unfoldStructured,
} from '../../../binder/transport/foreign-cloud-events.ts'
import { plainMessage } from '../kafka/kit.ts'

const event = { specversion: '1.0', id: 'e1', source: '/shop', type: 'order.placed' }

function structured(value: unknown, fields: Partial<EncodedMessage> = {}): EncodedMessage {
  const body = new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
  return plainMessage({ id: 'place', contentType: 'application/cloudevents+json; charset=UTF-8', body, ...fields })
}

const text = ({ body }: EncodedMessage): string => new TextDecoder().decode(body ?? new Uint8Array())

describe('an event in structured mode', () => {
  it('is not parsed when it is nested without end, which would take seconds', () => {
    const data = '['.repeat(500_000) + ']'.repeat(500_000)
    const body = `{"specversion":"1.0","id":"e1","source":"/shop","type":"order.placed","data":${data}}`
    const message = structured(body)
    const parse = vi.spyOn(JSON, 'parse')
    try {
      expect(unfoldStructured(message)).toBe(message)
      expect(parse).not.toHaveBeenCalled()
    } finally {
      parse.mockRestore()
    }
  })

  it.each([
    '{"id":12345678901234567890,"pi":3.14159265358979323846,"list":[1,-9007199254740993],"name":"a 12345678901234567890"}',
    '{"far":1e999,"zero":-0}',
  ])('keeps each digit of the numbers in its data: %s', (data) => {
    const { id, source, type } = event
    const body = `{"specversion":"1.0","id":"${id}","source":"${source}","type":"${type}","data":${data}}`
    expect(text(unfoldStructured(structured(body)))).toBe(data)
  })

  it('keeps each digit of a number in an extension, as text where a number has not enough', () => {
    const { headers } = unfoldStructured(
      structured(`${JSON.stringify(event).slice(0, -1)},"big":12345678901234567890,"n":7}`),
    )
    expect(headers).toEqual({ big: '12345678901234567890', n: 7 })
  })

  it('becomes a message, its extensions headers', () => {
    const message = unfoldStructured(
      structured(
        {
          ...event,
          time: '2026-11-20T10:00:00.5+02:00',
          datacontenttype: 'application/json',
          partitionkey: 'order-7',
          subject: 'order 7',
          retries: 3,
          urgent: true,
          nothing: null,
          odd: { a: 1 },
          data: { orderId: 'o-1' },
        },
        { headers: { traceparent: 'of the transport', subject: 'of the transport' } },
      ),
    )
    expect(message).toMatchObject({
      id: 'e1',
      source: '/shop',
      type: 'order.placed',
      key: 'order-7',
      contentType: 'application/json',
      time: Date.UTC(2026, 10, 20, 8, 0, 0, 500),
    })
    expect(message.headers).toEqual({
      subject: 'of the transport',
      retries: 3,
      urgent: true,
      odd: '{"a":1}',
      traceparent: 'of the transport',
    })
    expect(text(message)).toBe('{"orderId":"o-1"}')
  })

  it.for([
    ['bytes in base64', { datacontenttype: 'application/octet-stream', data_base64: 'AP8=' }, [0, 255]],
    ['a text that is no JSON', { datacontenttype: 'text/plain', data: 'hi' }, [104, 105]],
    ['a JSON text', { data: 'hi' }, [34, 104, 105, 34]],
    ['JSON of a media type of its own', { datacontenttype: 'application/vnd.shop+json', data: [1] }, [91, 49, 93]],
    ['no data: a tombstone', {}, null],
  ] as const)('carries %s', ([, fields, bytes]) => {
    const { body } = unfoldStructured(structured({ ...event, ...fields }))
    expect(body === null ? null : [...body]).toEqual(bytes)
  })

  it('keeps a key and a time of the transport that the event lacks', () => {
    const message = unfoldStructured(structured(event, { key: 'k', time: 5 }))
    expect(message).toMatchObject({ key: 'k', time: 5 })
  })

  it('has names that reach no prototype', () => {
    const { headers } = unfoldStructured(
      structured('{"specversion":"1.0","id":"e","source":"s","type":"t","__proto__":"p","constructor":"c"}'),
    )
    expect(Object.entries(headers)).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
    ])
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype)
  })

  it.for([
    ['no JSON', 'nonsense'],
    ['a list', [event]],
    ['null', 'null'],
    ['another version', { ...event, specversion: '0.3' }],
    ['no id', { ...event, id: '' }],
    ['a type that is no text', { ...event, type: 7 }],
    ['data twice', { ...event, data: 1, data_base64: 'AA==' }],
    [
      'data nested too deeply',
      `${JSON.stringify(event).slice(0, -1)},"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    ],
  ] as const)('that is %s stays unchanged, and is no payload', ([, value]) => {
    const came = structured(value as unknown)
    const message = unfoldStructured(came)
    expect(message).toBe(came)
    const channel = defineChannel('orders', { payload: z.any() })
    expect(() => decodePayload(channel, message)).toThrow(/structured mode.*binary mode/)
  })

  it('is recognized by its content type', () => {
    const said = ['application/cloudevents', 'application/CloudEvents-batch+json', 'application/cloudevents+avro']
    expect(said.map(isStructured)).toEqual([true, true, true])
    expect(['application/json', 'application/octet-stream', 'text/plain'].map(isStructured)).toEqual([
      false,
      false,
      false,
    ])
    const batch = structured([event], { contentType: 'application/cloudevents-batch+json' })
    expect(unfoldStructured(batch)).toBe(batch)
  })

  it('never throws, for any bytes', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((json) => new TextEncoder().encode(json)),
        ),
        (body) => {
          expect(typeof unfoldStructured(structured('', { body })).id).toBe('string')
        },
      ),
    )
  })
})

describe('a foreign attribute', () => {
  it('an attribute that is too long becomes the same short one each time', () => {
    expect(bounded('x'.repeat(255))).toHaveLength(255)
    expect(bounded('x'.repeat(256))).toMatch(/^sha256-[0-9a-f]{64}$/)
    expect(bounded('x'.repeat(256))).toBe(bounded('x'.repeat(256)))
    expect(bounded('x'.repeat(257))).not.toBe(bounded('x'.repeat(256)))
  })

  it('an attribute that is no UTF-16 stays itself, where UTF-8 would make two of them one', () => {
    expect(bounded('order-\ud83d')).toMatch(/^sha256-[0-9a-f]{64}$/)
    expect(bounded('order-\ud83d')).toBe(bounded('order-\ud83d'))
    expect(bounded('order-\ud83d')).not.toBe(bounded('order-\ud83e'))
  })

  it('an attribute with a NUL, which an inbox cannot store, is replaced as well', () => {
    expect(bounded('i\0')).toMatch(/^sha256-[0-9a-f]{64}$/)
    expect(bounded('i\0')).not.toBe(bounded('i\0\0'))
  })

  it('is a time only in RFC 3339 form', () => {
    const eight = Date.UTC(2026, 10, 20, 8)
    expect(instantOf('2026-11-20T08:00:00Z')).toBe(eight)
    expect(instantOf('2026-11-20T10:00:00+02:00')).toBe(eight)
    expect(instantOf('2026-11-20T02:30:00.000000-05:30')).toBe(eight)
    // The minute of the last time is remembered: what begins alike is not therefore the same.
    expect(instantOf('2026-11-20T08:00:59.999Z')).toBe(eight + 59_999)
    expect(instantOf('2026-11-20T08:00:00.007Z')).toBe(eight + 7)
    expect(instantOf('2026-11-20T08:00:00.007+01:00')).toBe(eight - 3_600_000 + 7)
    expect(instantOf('2026-11-20T08:00:0x.007Z')).toBeUndefined()
    expect(instantOf('2026-11-20T08:00:60.000Z')).toBeUndefined()
    expect(instantOf('2026-11-20T24:00:00.000Z')).toBe(eight + 16 * 3_600_000)
    expect(instantOf('2026-11-20T24:00:00.001Z')).toBeUndefined()
    for (const other of ['', 'yesterday', '1', '2026-13-45T00:00:00Z', '20261120', 7, null]) {
      expect(instantOf(other)).toBeUndefined()
    }
    fc.assert(
      fc.property(
        fc.array(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') }), { maxLength: 5 }),
        (dates) => {
          for (const date of dates) {
            for (const near of [date.getTime(), date.getTime() + 1, date.getTime() + 30_000])
              expect(instantOf(new Date(near).toISOString())).toBe(near)
          }
        },
      ),
    )
    expect(firstInstant(undefined, 8.64e15 + 1, Number.NaN, -1)).toBe(-1)
    expect(firstInstant(Number.POSITIVE_INFINITY)).toBe(0)
  })
})
