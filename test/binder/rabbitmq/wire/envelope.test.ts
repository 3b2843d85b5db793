import type { EncodedMessage } from 'concordat/binder'
import fc from 'fast-check'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter; through a broker: envelope.int.test.ts
import { fromAmqp, idOf, propertiesBytes, toAmqp } from '../../../../binder/rabbitmq/wire/envelope.ts'
import { anyMessage, plainMessage } from '../messages.ts'

const NOW = 1_700_000_000_000

/** Message as the receiving side gets it: amqplib unwraps its typed values. */
function travelled(message: EncodedMessage): Parameters<typeof fromAmqp>[0] {
  const { content, options } = toAmqp(message, true)
  const headers = Object.fromEntries(
    Object.entries(options.headers).map(([name, value]) => [name, isTyped(value) ? value.value : value]),
  )
  return { content, fields: { deliveryTag: 1, redelivered: false }, properties: { ...options, headers } }
}

function isTyped(value: unknown): value is { readonly '!': string; readonly value: unknown } {
  return typeof value === 'object' && value !== null && '!' in value
}

describe('AMQP envelope', () => {
  it('restores the message', ({ expect }) => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(fromAmqp(travelled(message), message.destination, NOW)).toEqual(message)
      }),
    )
  })

  it('distinguishes ids without UTF-8 by their messages, though they read alike', ({ expect }) => {
    const read = (body: string) => {
      const properties = { messageId: 'm-\uFFFD', appId: 'shop', headers: {} }
      return fromAmqp(
        { content: Buffer.from(body), fields: { deliveryTag: 1, redelivered: false }, properties },
        'd',
        NOW,
      )
    }
    expect(read('one').source).not.toBe(read('another').source)
    expect(read('one').source).toBe(read('one').source)
  })

  it('is CloudEvents in binary mode', ({ expect }) => {
    const { options } = toAmqp(plainMessage({ key: 'k', headers: { tenant: 'acme' } }), true)
    expect(options).toEqual({
      headers: {
        'cloudEvents:specversion': '1.0',
        'cloudEvents:id': 'm1',
        'cloudEvents:source': 'tests',
        'cloudEvents:type': 'orders.placed',
        'cloudEvents:time': '2026-11-20T08:00:00.250Z',
        'cloudEvents:partitionkey': 'k',
        tenant: 'acme',
      },
      contentType: 'application/json',
      persistent: true,
      mandatory: true,
      messageId: 'm1',
      type: 'orders.placed',
      appId: 'tests',
      timestamp: Date.UTC(2026, 10, 20, 8) / 1_000,
    })
  })

  it('distinguishes a tombstone from an empty body', ({ expect }) => {
    const tombstone = fromAmqp(travelled(plainMessage({ body: null })), 'd', NOW)
    const empty = fromAmqp(travelled(plainMessage({ body: new Uint8Array() })), 'd', NOW)
    expect([tombstone.body, empty.body?.byteLength, Object.keys(tombstone.headers)]).toEqual([null, 0, []])
  })

  it('keeps names that the broker would take for its own out of its sight', ({ expect }) => {
    const headers = Object.fromEntries([
      ['CC', 'me'],
      ['BCC', 'you'],
      ['x-death', 'mine'],
      ['__proto__', 'odd'],
      ['x-tenant', 'plain'],
    ])
    const message = plainMessage({ headers })
    const names = Object.keys(toAmqp(message, true).options.headers).filter((name) => !name.startsWith('cloudEvents'))
    expect(names).toEqual([
      'concordat-amqp-CC',
      'concordat-amqp-BCC',
      'concordat-amqp-x-death',
      'concordat-amqp-__proto__',
      'x-tenant',
    ])
    expect(Object.entries(fromAmqp(travelled(message), 'd', NOW).headers)).toEqual(Object.entries(headers))
  })

  it('leaves out headers that the broker added', ({ expect }) => {
    const { headers } = fromAmqp(
      foreign({ headers: { 'x-death': [{ count: 1 }], 'x-delivery-count': 2, 'x-first-death-queue': 'q', mine: 1 } }),
      'd',
      NOW,
    )
    expect(headers).toEqual({ mine: 1 })
  })

  it('reads a message of any sender', ({ expect }) => {
    const message = fromAmqp(
      foreign({
        messageId: 'theirs',
        contentType: 'text/plain',
        timestamp: 1_600_000_000,
        type: 'their.type',
        appId: 'them',
      }),
      'orders',
      NOW,
    )
    expect(message).toMatchObject({
      id: 'theirs',
      destination: 'orders',
      key: null,
      type: 'their.type',
      source: 'them',
      contentType: 'text/plain',
      time: 1_600_000_000_000,
      headers: {},
    })
  })

  it('reads a message without properties', ({ expect }) => {
    const message = fromAmqp(foreign({}), 'orders', NOW)
    expect(message).toMatchObject({
      key: null,
      type: 'orders',
      source: 'unknown',
      contentType: '',
      time: NOW,
    })
    expect(message.id).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('keeps messages of two unnamed senders apart, though they count alike', ({ expect }) => {
    const nameOf = (body: string, properties: object = {}) => {
      const message = foreign({ messageId: '1', ...properties })
      const { id, source } = fromAmqp({ ...message, content: Buffer.from(body) }, 'orders', NOW)
      return [id, source].join(' of ')
    }
    expect(nameOf('{"order":1}')).toMatch(/^1 of unknown\/[0-9a-f]{32}$/)
    expect(nameOf('{"order":1}')).toBe(nameOf('{"order":1}', { timestamp: 1 }))
    expect(nameOf('{"order":1}')).not.toBe(nameOf('{"order":2}'))
    expect(nameOf('{"order":1}')).not.toBe(nameOf('{"order":1}', { type: 'order.cancelled' }))
    expect(nameOf('{"order":1}', { appId: 'them' })).toBe('1 of them')
  })

  it('reads CloudEvents of others and hands extensions over as headers', ({ expect }) => {
    const headers = {
      'cloudEvents:id': 'ce',
      'cloudEvents:source': '/them',
      'cloudEvents:type': 't',
      'cloudEvents:time': '2020-01-01T00:00:00Z',
      'cloudEvents:subject': 'order 7',
      'cloudEvents:traceparent': '00-1-2-01',
    }
    const message = fromAmqp(foreign({ headers }), 'd', NOW)
    expect(message).toMatchObject({ id: 'ce', source: '/them', type: 't', time: Date.UTC(2020, 0) })
    expect(message.headers).toEqual({ subject: 'order 7', traceparent: '00-1-2-01' })
  })

  it('reads both spellings, the one with a colon first', ({ expect }) => {
    const read = (headers: Record<string, unknown>) => fromAmqp(foreign({ headers }), 'd', NOW)
    expect(read({ cloudEvents_id: 'a', cloudEvents_source: '/a' })).toMatchObject({ id: 'a', source: '/a' })
    expect(read({ 'cloudEvents:id': 'b', cloudEvents_id: 'a' })).toMatchObject({ id: 'b', headers: {} })
    expect(read({ cloudEvents_id: 'a', 'cloudEvents:id': 'b' })).toMatchObject({ id: 'b', headers: {} })
  })

  it('reads the key from the header that Spring makes of it, which stays a header', ({ expect }) => {
    const key = (headers: Record<string, unknown>) => fromAmqp(foreign({ headers }), 'd', NOW).key
    expect(key({ 'ce-partitionkey': 'k' })).toBe('k')
    expect(key({ 'ce-partitionkey': 'k', 'cloudEvents:partitionkey': 'ours' })).toBe('ours')
    expect(key({ 'ce-partitionkey': 7 })).toBeNull()
    expect(fromAmqp(foreign({ headers: { 'ce-partitionkey': 'k' } }), 'd', NOW).headers).toEqual({
      'ce-partitionkey': 'k',
    })
  })

  it('turns AMQP types that a header has not into ones that it has', ({ expect }) => {
    const headers = {
      at: { '!': 'timestamp', value: 10 },
      price: { '!': 'decimal', value: { places: 2, digits: 1_999 } },
      list: [1, 'two'],
      table: { a: null },
    }
    expect(fromAmqp(foreign({ headers }), 'd', NOW).headers).toEqual({
      at: 10_000,
      price: 19.99,
      list: '[1,"two"]',
      table: '{"a":null}',
      'amqp-types': '{"at":"timestamp","price":"decimal:2","list":"json","table":"json"}',
    })
  })

  it('reads the sign of a decimal, in lists and tables too, and writes the same bits again', ({ expect }) => {
    const decimal = (digits: number) => ({ '!': 'decimal', value: { digits: digits >>> 0, places: 2 } })
    const headers = {
      price: decimal(-150),
      least: decimal(-(2 ** 31)),
      most: decimal(2 ** 31 - 1),
      list: [decimal(-999), decimal(999)],
      table: { rate: decimal(-1) },
    }
    const message = fromAmqp(foreign({ headers }), 'd', NOW)
    expect(message.headers).toMatchObject({ price: -1.5, least: -21_474_836.48, most: 21_474_836.47 })
    expect(JSON.parse(String(message.headers['list']))).toMatchObject([
      { value: { digits: -999 } },
      { value: { digits: 999 } },
    ])
    expect(toAmqp(message, true).options.headers).toMatchObject(headers)
  })

  it('reads tables with a wrong type', ({ expect }) => {
    const nested = { '!': 'decimal', value: { digits: 1, places: { toString: 'x' } } }
    // Table as amqplib decodes it when a field is named `__proto__` and holds bytes.
    const bytes = Object.setPrototypeOf({ a: 1 }, Buffer.from([1])) as object
    const { headers } = fromAmqp(foreign({ headers: { nested, bytes } }), 'd', NOW)
    expect(headers['nested']).toBe(JSON.stringify(nested))
    expect(headers['bytes']).toBeTypeOf('string')
  })

  it('restores those types when the message is passed on', ({ expect }) => {
    const headers = {
      at: { '!': 'timestamp', value: 10 },
      price: { '!': 'decimal', value: { places: 255, digits: 4_294_967_295 } },
      list: [1, 'two', [{ '!': 'timestamp', value: 3 }]],
      table: { a: null, b: { raw: Buffer.from([1]) } },
      'concordat-amqp-CC': ['theirs'],
    }
    const { options } = toAmqp(fromAmqp(foreign({ headers }), 'd', NOW), true)
    expect(options.headers).toMatchObject(headers)
    expect(options.headers).not.toHaveProperty('amqp-types')
  })

  it.for([
    ['a value that is another now', { at: 'later' }, '{"at":"timestamp"}', { at: 'later' }],
    ['a time between two seconds', { at: 1_500 }, '{"at":"timestamp"}', { at: 1_500 }],
    ['a time before 1970', { at: -1_000 }, '{"at":"timestamp"}', { at: -1_000 }],
    ['too many digits', { price: 2 ** 33 }, '{"price":"decimal:0"}', { price: 2 ** 33 }],
    ['no JSON', { list: '[' }, '{"list":"json"}', { list: '[' }],
    ['JSON of a text', { list: '"a"' }, '{"list":"json"}', { list: '"a"' }],
    ['what amqplib cannot write', { list: '[{"!":"x"}]' }, '{"list":"json"}', { list: '[{"!":"x"}]' }],
    ['what is not there', {}, '{"gone":"json"}', {}],
    ['an unknown type', { a: 1 }, '{"a":"decimal:x"}', { a: 1 }],
    ['types that are no object', { a: 1 }, 'x', { a: 1, 'concordat-amqp-amqp-types': 'x' }],
  ] as const)('writes %s unchanged', ([, headers, types, written], { expect }) => {
    const { options } = toAmqp(plainMessage({ headers: { ...headers, 'amqp-types': types } }), true)
    const own = Object.entries(options.headers).filter(([name]) => !name.startsWith('cloudEvents:'))
    expect(Object.fromEntries(own)).toEqual(written)
  })

  it('writes no deeper nesting than amqplib can encode', ({ expect }) => {
    const list = `${'['.repeat(5_000)}${']'.repeat(5_000)}`
    const { options } = toAmqp(plainMessage({ headers: { list, 'amqp-types': '{"list":"json"}' } }), true)
    expect(options.headers['list']).toBe(list)
  })

  it('shows foreign properties as headers, and restores them when the message is passed on', ({ expect }) => {
    const properties = { replyTo: 'q', correlationId: 'c', contentEncoding: 'gzip', priority: 3 }
    const message = fromAmqp(foreign({ ...properties, expiration: '100' }), 'd', NOW)
    const { 'amqp-expiration': expiration, ...rest } = message.headers
    expect(rest).toEqual({
      'amqp-reply-to': 'q',
      'amqp-correlation-id': 'c',
      'amqp-content-encoding': 'gzip',
      'amqp-priority': 3,
    })
    const { options } = toAmqp(message, true)
    expect(options).toMatchObject(properties)
    expect(options).not.toHaveProperty('expiration')
    expect(options.headers).toMatchObject({ 'amqp-expiration': expiration })
    expect(Object.keys(options.headers).filter((name) => name in rest)).toEqual([])
  })

  it('keeps invalid properties as headers, and a priority while the message is delayed', ({ expect }) => {
    const headers = {
      'amqp-reply-to': 'amq.rabbitmq.reply-to',
      'amqp-correlation-id': 'ä'.repeat(128),
      'amqp-content-encoding': 7,
      'amqp-priority': 256,
    }
    expect(toAmqp(plainMessage({ headers }), true).options.headers).toMatchObject(headers)
    const delayed = toAmqp(plainMessage({ headers: { 'amqp-priority': 9 }, notBefore: NOW }), true).options
    expect(delayed).not.toHaveProperty('priority')
    expect(delayed.headers).toMatchObject({ 'amqp-priority': 9 })
  })

  it('finds the id of a returned message, also one too long for the property', ({ expect }) => {
    const long = plainMessage({ id: 'ä'.repeat(200) })
    const { options } = toAmqp(long, true)
    expect(options.messageId).toBeUndefined()
    expect(idOf(options)).toBe(long.id)
    expect(idOf({ messageId: 'only' })).toBe('only')
  })

  it('never takes headers for smaller than they are', ({ expect }) => {
    const { options } = toAmqp(plainMessage({ headers: { a: 'ä'.repeat(5_000), b: new Uint8Array(5_000) } }), true)
    expect(propertiesBytes(options)).toBeGreaterThan(15_000)
  })
})

function foreign(properties: Parameters<typeof fromAmqp>[0]['properties']): Parameters<typeof fromAmqp>[0] {
  return { content: Buffer.from('x'), fields: { deliveryTag: 1, redelivered: false }, properties }
}
