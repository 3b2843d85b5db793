import { type Channel, decodePayload, defineChannel, encodeMessage, type Headers } from 'concordat/binder'
import { type Codec, CodecError, SchemaError, type StandardSchemaV1 } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { MAX_HEADER_BYTES, MAX_HEADERS } from '../../support/inside/binder.ts'
import { messageOn } from '../support/scripted-transport.ts'

const Order = z.object({ id: z.string(), at: z.iso.datetime().transform((text) => new Date(text)) })
const orders = defineChannel('orders', { payload: Order, key: ({ id }) => id })
const order = { id: 'o-1', at: '2026-11-20T06:00:00Z' }

describe('encodeMessage', () => {
  it('sends the input form and hands the transformed one to the receiver', async () => {
    const message = await encodeMessage(orders, order, 'shop')
    expect(JSON.parse(Buffer.from(message.body ?? []).toString())).toEqual(order)
    expect(await decodePayload(orders, message)).toEqual({ id: 'o-1', at: new Date(order.at) })
  })

  it('fills in id, key, type, source, content type and time', async () => {
    const before = Date.now()
    const message = await encodeMessage(orders, order, 'shop')
    expect(message).toMatchObject({
      destination: 'orders',
      key: 'o-1',
      type: 'orders',
      source: 'shop',
      contentType: 'application/json',
      headers: {},
    })
    expect(message.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(message.time).toBeGreaterThanOrEqual(before)
  })

  it('takes id, key, headers and time from the sender', async () => {
    const options = { id: 'mine', key: null, headers: { tenant: 'acme' }, time: 42 }
    expect(await encodeMessage(orders, order, 'shop', options)).toMatchObject(options)
  })

  it.each(['', 'x'.repeat(256), 'half \ud83d', 7 as unknown as string])('refuses %o as an id', (id) => {
    expect(() => encodeMessage(orders, order, 'shop', { id })).toThrow('id of "orders": expected a string of 1 to 255')
  })

  it('refuses a payload that does not fit, naming the field', () => {
    const wrong = { id: 7, at: order.at } as unknown as typeof order
    expect(() => encodeMessage(orders, wrong, 'shop')).toThrow(SchemaError)
    expect(() => encodeMessage(orders, wrong, 'shop')).toThrow(/^payload of "orders" does not fit its schema: id: /)
  })

  it('waits for a schema that is asynchronous', async () => {
    const schema: StandardSchemaV1<string, string> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: async (value) => (value === 'good' ? { value } : { issues: [{ message: 'not good' }] }),
      },
    }
    const channel = defineChannel('late', { payload: schema })
    await expect(encodeMessage(channel, 'good', 'shop')).resolves.toMatchObject({ destination: 'late' })
    await expect(encodeMessage(channel, 'bad', 'shop')).rejects.toThrow('not good')
  })

  it.for([
    [{ 'concordat-x': 1 }, 'headers.concordat-x: expected a name without a reserved prefix'],
    [{ ce_id: 'x' }, 'headers.ce_id: expected a name without a reserved prefix'],
    [{ 'cloudEvents:id': 'x' }, 'headers.cloudEvents:id: expected a name without a reserved prefix'],
    [{ 'a b': 1 }, 'headers: expected names of 1 to 128 visible ASCII characters, got "a b"'],
    [{ [`${'x'.repeat(129)}`]: 1 }, 'headers: expected names of 1 to 128 visible ASCII characters'],
    [{ x: Number.NaN }, 'headers.x: expected a string, a finite number, a boolean, bytes or null'],
    [null, 'headers: expected an object of names and values such as { tenant: "north" }, got null'],
    [
      new Map([['x', 1]]),
      'headers: expected an object of names and values such as { tenant: "north" }, got an instance of Map',
    ],
    [{ x: 'a\ud83d' }, 'headers.x: expected a string that has a form in UTF-8, got "a\\ud83d"'],
    [{ x: undefined }, 'headers.x: expected a string, a finite number, a boolean, bytes or null'],
    [{ x: {} }, 'headers.x: expected a string, a finite number, a boolean, bytes or null, got {}'],
    [{ x: 'y'.repeat(MAX_HEADER_BYTES) }, `headers: expected at most ${MAX_HEADER_BYTES} bytes in all`],
    [
      Object.fromEntries(Array.from({ length: MAX_HEADERS + 1 }, (_, i) => [`h${i}`, i])),
      'headers: expected at most 64',
    ],
  ] as const)('refuses the headers %o', ([headers, message]) => {
    expect(() => encodeMessage(orders, order, 'shop', { headers: headers as unknown as Headers })).toThrow(message)
  })

  it.for([[7], ['x'.repeat(1_025)]] as const)('refuses the key %o', ([key]) => {
    expect(() => encodeMessage(orders, order, 'shop', { key: key as string })).toThrow(
      'key of "orders": expected a string of at most 1024 characters or null',
    )
  })

  it('refuses half a character in a key, which no broker delivers unchanged', () => {
    const half = '🙂'.slice(0, 1)
    expect(() => encodeMessage(orders, order, 'shop', { key: half })).toThrow('key of "orders": expected a string')
    expect(encodeMessage(orders, order, 'shop', { key: '🙂' })).toMatchObject({ key: '🙂' })
  })

  it('refuses a key function that returns undefined, since null means no order', () => {
    const slip = (() => undefined) as unknown as () => string
    const channel = defineChannel('slips', { payload: z.string(), key: slip })
    expect(() => encodeMessage(channel, 'x', 'shop')).toThrow('key of "slips": expected a string')
    expect(encodeMessage(channel, 'x', 'shop', { key: null })).toMatchObject({ key: null })
    const without = defineChannel('loose', { payload: z.string(), key: () => null })
    expect(encodeMessage(without, 'x', 'shop')).toMatchObject({ key: null })
  })

  it.for([
    [Number.NaN, 'NaN'],
    [1e20, '100000000000000000000'],
    [8.64e15, '8640000000000000'],
    [-62_167_219_200_001, '-62167219200001'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ['5', '"5"'],
  ] as const)('refuses the time %o before a broker has to', ([time, shown]) => {
    expect(() => encodeMessage(orders, order, 'shop', { time: time as number })).toThrow(
      `send("orders").time: expected an instant in epoch ms of the years 0 to 9999, such as date.getTime(), got ${shown}`,
    )
  })

  it('sends a time in whole milliseconds, on every transport the same', async () => {
    expect(await encodeMessage(orders, order, 'shop', { time: 1_700_000_000_000.75 })).toMatchObject({
      time: 1_700_000_000_000,
    })
    expect(await encodeMessage(orders, order, 'shop', { time: -1 })).toMatchObject({ time: -1 })
  })

  it.for([
    ['text', 'text', 'bytes (a Uint8Array) from the codec, got a string'],
    [
      'a promise',
      Promise.resolve(new Uint8Array()),
      'bytes (a Uint8Array) from the codec, got a promise: is an "await" missing?',
    ],
    ['an ArrayBuffer', new ArrayBuffer(1), 'bytes (a Uint8Array) from the codec, got an instance of ArrayBuffer'],
  ] as const)('refuses %s from a codec', ([, made, message]) => {
    const codec = { contentType: 'x/y', encode: () => made, decode: () => 1 } as unknown as Codec<unknown>
    const channel = defineChannel('coded', { payload: z.string(), codec })
    expect(() => encodeMessage(channel, 'x', 'shop')).toThrow(`payload of "coded", encoded: expected ${message}`)
    expect(() => encodeMessage(channel, 'x', 'shop')).toThrow(CodecError)
  })

  it('reports a failed codec, whatever it throws', () => {
    const encode = (): never => {
      throw 'out of ink' // oxlint-disable-line only-throw-error -- what a foreign codec may do
    }
    const channel: Channel<string> = defineChannel('coded', {
      payload: z.string(),
      codec: { contentType: 'x/y', encode, decode: encode },
    })
    expect(() => encodeMessage(channel, 'x', 'shop')).toThrow(CodecError)
    expect(() => encodeMessage(channel, 'x', 'shop')).toThrow('payload of "coded" was not encoded: out of ink')
  })

  it('uses the channel’s codec', async () => {
    const shouting: Codec<unknown> = {
      contentType: 'text/x-shouting',
      encode: (value) => Buffer.from(String(value).toUpperCase()),
      decode: (body) => Buffer.from(body).toString().toLowerCase(),
    }
    const channel = defineChannel('words', { payload: z.string(), codec: shouting })
    const message = await encodeMessage(channel, 'abc', 'shop')
    expect(Buffer.from(message.body ?? []).toString()).toBe('ABC')
    expect(message.contentType).toBe('text/x-shouting')
    expect(await decodePayload(channel, message)).toBe('abc')
  })
})

describe('decodePayload', () => {
  it('refuses a tombstone as undecodable', () => {
    expect(() => decodePayload(orders, { ...messageOn('orders', 'k', {}), body: null })).toThrow('is a tombstone')
  })
})
