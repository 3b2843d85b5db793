import { encode as packed, decode as unpacked } from '@msgpack/msgpack'
import {
  type Channel,
  decodePayload,
  defineChannel,
  type EncodedMessage,
  encodeMessage,
  processor,
  to,
} from 'concordat/binder'
import { bytesCodec, type Codec, jsonCodec, textCodec } from 'concordat/core'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { keeper, running } from '../support/run.ts'
import { messageOn } from '../support/scripted-transport.ts'

const User = z.object({ name: z.string() })
const users = defineChannel('users', { payload: User, tombstones: true, key: ({ name }) => name, groups: ['g'] })

describe('a tombstone', () => {
  it('travels with its key and without a body, and the handler gets null', async () => {
    const { got, binding } = keeper(users)
    const app = await running({ bindings: [binding] })
    await app.send(users, { name: 'ann' })
    await app.send(users, null, { key: 'ann' })
    await until('both came', () => got.length === 2)
    expect(got.map(({ payload, key }) => [payload, key])).toEqual([
      [{ name: 'ann' }, 'ann'],
      [null, 'ann'],
    ])
    expect(await encodeMessage(users, null, 's', { key: 'ann' })).toMatchObject({ body: null, key: 'ann' })
  })

  it.for([[undefined], [{}], [{ key: null }], [{ key: '' }]])('without a key is refused: %o', ([options]) => {
    expect(() => encodeMessage(users, null, 's', options)).toThrow('key of a tombstone on "users": expected a string')
    const message = { ...messageOn('users', null, null), body: null }
    expect(() => decodePayload(users, message)).toThrow('without a key')
  })

  it('may be an output', async () => {
    const { got, binding } = keeper(users)
    const names = defineChannel('names', { payload: z.string() })
    const remove = processor(names, users, { group: 'g' }, (name) => to(users, null, { key: name }))
    const app = await running({ bindings: [remove, binding] })
    await app.send(names, 'ann')
    await until('it came', () => got.length === 1)
    expect(got[0]).toMatchObject({ payload: null, key: 'ann' })
  })

  it('is dead-lettered where the channel has none, and null is no payload there', () => {
    const plain = defineChannel('users', { payload: User })
    expect(() => encodeMessage(plain, null as never, 's')).toThrow('does not fit its schema')
    const message = { ...messageOn('users', 'ann', null), body: null }
    expect(() => decodePayload(plain, message)).toThrow(
      'a channel declared with tombstones: true hands them to its handlers',
    )
    const letters = defineChannel('nulls', { payload: z.null() })
    expect(encodeMessage(letters, null, 's')).toMatchObject({ body: Buffer.from('null') })
  })
})

describe('versions of a payload', () => {
  const Name = z.object({ first: z.string(), last: z.string() })
  const first = defineChannel('people', { payload: z.string() })
  const second = defineChannel('people', { payload: z.object({ name: z.string() }), version: 2 })
  const third = defineChannel('people', {
    payload: Name,
    version: 3,
    upcasts: {
      1: (name: string) => ({ name }),
      2: ({ name }: { name: string }) => ({ first: name.split(' ')[0], last: name.split(' ')[1] }),
    },
  })
  const sent = async <In>(channel: Channel<In, unknown>, payload: In): Promise<EncodedMessage> =>
    encodeMessage(channel, payload, 's')

  it('travel in a header, and older ones are made new before they are validated', async () => {
    const ann = { first: 'Ann', last: 'Lee' }
    expect(await decodePayload(third, await sent(first, 'Ann Lee'))).toEqual(ann)
    expect(await decodePayload(third, await sent(second, { name: 'Ann Lee' }))).toEqual(ann)
    expect(await decodePayload(third, await sent(third, ann))).toEqual(ann)
    expect((await sent(third, ann)).headers).toEqual({ 'payload-version': 3 })
    expect((await sent(first, 'Ann Lee')).headers).toEqual({})
    const foreign = { ...(await sent(second, { name: 'Ann Lee' })), headers: { 'payload-version': '2' } }
    expect(await decodePayload(third, foreign)).toEqual(ann)
  })

  it.for([
    [4, 'payload version 4 of "people": this declaration knows 3 and older: deploy the newer one'],
    [0, 'the header payload-version has to be a whole number from 1'],
    ['two', 'payload version "two" of "people"'],
    [1.5, 'payload version 1.5'],
  ] as const)('reject an unknown version: %o', async ([version, message]) => {
    const unknown = { ...(await sent(third, { first: 'a', last: 'b' })), headers: { 'payload-version': version } }
    expect(() => decodePayload(third, unknown)).toThrow(message)
    expect(() => decodePayload(third, unknown)).toThrow(
      expect.objectContaining({ code: 'binder.payload_version', retryable: false }),
    )
  })

  it('newer than 1 are an error for a channel without versions', async () => {
    const newer = await sent(second, { name: 'Ann Lee' })
    expect(() => decodePayload(first, newer)).toThrow('this declaration knows 1 and older')
  })

  it('a message of another type names the intermediate program as a possible cause', async () => {
    const copied = { ...(await sent(second, { name: 'Ann Lee' })), type: 'persons' }
    expect(() => decodePayload(first, copied)).toThrow(
      'deploy the newer one, or, if a program made this message out of one of "persons", have it leave out the header payload-version',
    )
  })

  it('fail with the upcast that fails', async () => {
    const broken = defineChannel('people', {
      payload: Name,
      version: 2,
      upcasts: {
        1: () => {
          throw new Error('no such name')
        },
      },
    })
    const old = await sent(first, 'Ann')
    expect(() => decodePayload(broken, old)).toThrow('the upcast from 1 failed: no such name')
    const late = defineChannel('people', { payload: z.unknown(), version: 2, upcasts: { 1: async (it) => it } })
    expect(() => decodePayload(late, old)).toThrow('the upcast from 1 returned a promise: make it synchronous')
  })

  it('may begin later than 1', async () => {
    const recent = defineChannel('people', {
      payload: Name,
      version: 3,
      upcasts: { 2: () => ({ first: 'a', last: 'b' }) },
    })
    expect(await decodePayload(recent, await sent(second, { name: 'x' }))).toEqual({ first: 'a', last: 'b' })
    const old = await sent(first, 'x')
    expect(() => decodePayload(recent, old)).toThrow('no upcast from 1: add it to `upcasts`')
  })

  it('do not follow the headers of a message to another payload', async () => {
    const { headers } = await sent(third, { first: 'a', last: 'b' })
    const plain = defineChannel('greetings', { payload: z.string(), tombstones: true })
    const passOn = (payload: string | null) =>
      encodeMessage(plain, payload, 's', { key: 'k', headers: { ...headers, a: 1 } })
    expect(decodePayload(plain, await passOn('hello'))).toBe('hello')
    expect((await passOn('hello')).headers).toEqual({ a: 1 })
    expect((await passOn(null)).headers).toEqual({ a: 1 })
    const raw = defineChannel('people', { payload: z.instanceof(Uint8Array), codec: bytesCodec })
    expect((await encodeMessage(raw, new Uint8Array(), 's', { headers })).headers).toEqual({ 'payload-version': 3 })
  })

  it('stay unchanged in a dead letter', async () => {
    const letters = keeper(defineChannel('people.keeper.dlq', { payload: Name, version: 4, partitions: 1 }))
    const people = keeper(third)
    const app = await running({ bindings: [people.binding, letters.binding] })
    const fourth = defineChannel('people', { payload: Name, version: 4 })
    await app.send(fourth, { first: 'a', last: 'b' })
    await until('it is dead-lettered', () => letters.got.length === 1)
    expect(letters.got[0]).toMatchObject({
      payload: { first: 'a', last: 'b' },
      headers: { 'payload-version': 4, 'dead-letter-attempts': 0, 'dead-letter-error-code': 'binder.payload_version' },
    })
    expect(people.got).toEqual([])
  })

  it.for([
    [{ version: 0 }, 'version: expected a whole number >= 1'],
    [{ upcasts: { 1: String } }, 'version: expected a whole number >= 1 and <= 1000000, got undefined'],
    [{ version: 2, upcasts: { 2: String } }, 'upcasts: expected versions from 1 to 1, those before `version`, got "2"'],
    [{ version: 4, upcasts: { 1: String, 3: String } }, 'upcasts: expected one for 2 as well'],
    [{ version: 2, upcasts: { 1: 'x' } }, 'upcasts[1]: expected a function'],
    [{ version: 2, upcasts: [] }, 'upcasts: expected an object such as'],
  ] as const)('are refused when they make no sense: %o', ([options, message]) => {
    expect(() => defineChannel('people', { payload: Name, ...(options as object) })).toThrow(message)
  })
})

describe('codecs', () => {
  const msgpackCodec: Codec<unknown> = {
    contentType: 'application/msgpack',
    encode: (value) => packed(value),
    decode: (bytes) => unpacked(bytes),
  }
  const Point = z.object({ x: z.number(), raw: z.union([z.instanceof(Uint8Array), z.string()]) })

  it('a user’s own codec carries values that JSON cannot', async () => {
    const points = defineChannel('points', { payload: Point, codec: msgpackCodec })
    const { got, binding } = keeper(points)
    const app = await running({ bindings: [binding] })
    await app.send(points, { x: 1, raw: new Uint8Array([1, 2]) })
    await until('it came', () => got.length === 1)
    expect(got[0]?.payload).toEqual({ x: 1, raw: new Uint8Array([1, 2]) })
  })

  it('are chosen by the content type of a message', () => {
    const points = defineChannel('points', { payload: Point, reads: [msgpackCodec] })
    const body = packed({ x: 1, raw: 'a' })
    const read = (contentType: string, bytes: Uint8Array): unknown =>
      decodePayload(points, { ...messageOn('points', null, 0), contentType, body: bytes })
    expect(read('application/msgpack', body)).toEqual({ x: 1, raw: 'a' })
    expect(read('Application/MsgPack; v=5', body)).toEqual({ x: 1, raw: 'a' })
    const json = jsonCodec.encode({ x: 2, raw: 'b' })
    for (const contentType of ['application/json', 'application/json; charset=utf-8', 'application/vnd.point+json'])
      expect(read(contentType, json)).toEqual({ x: 2, raw: 'b' })
    for (const unsaid of ['application/octet-stream', '']) expect(read(unsaid, json)).toEqual({ x: 2, raw: 'b' })
    expect(() => read('text/csv', json)).toThrow(
      'on "points" is "text/csv" and the channel reads application/json, application/msgpack: add its codec to `reads`',
    )
  })

  it('do not reject a message without a content type, which the channel’s own codec reads', () => {
    const mixed = defineChannel('mixed', { payload: z.unknown(), reads: [bytesCodec] })
    const read = (contentType: string) => decodePayload(mixed, { ...messageOn('mixed', null, 7), contentType })
    expect(read('')).toBe(7)
    expect(read('application/octet-stream')).toBeInstanceOf(Uint8Array)
  })

  it('a codec with a list of content types refuses others; one without reads any', () => {
    const strict: Codec<unknown> = { ...jsonCodec, accepts: (contentType) => contentType === 'application/json' }
    const read = (codec: Codec<unknown>, contentType: string): unknown =>
      decodePayload(defineChannel('n', { payload: z.number(), codec }), { ...messageOn('n', null, 7), contentType })
    expect(read(strict, 'application/json')).toBe(7)
    expect(read(strict, 'application/octet-stream')).toBe(7)
    expect(() => read(strict, 'text/plain')).toThrow(
      expect.objectContaining({ code: 'core.codec', contentType: 'text/plain' }),
    )
    expect(read(jsonCodec, 'text/plain')).toBe(7)
  })

  it('are built in for text and bytes', () => {
    const text = defineChannel('t', { payload: z.string(), codec: textCodec, reads: [bytesCodec as Codec<unknown>] })
    const message = encodeMessage(text, 'grüße', 's')
    expect(message).toMatchObject({ contentType: 'text/plain; charset=utf-8' })
    expect(decodePayload(text, message as EncodedMessage)).toBe('grüße')
  })

  it.for([
    [{ reads: 'json' }, 'reads: expected a list of codecs'],
    [{ reads: [{}] }, 'reads[0]: expected a codec: { contentType, encode, decode }'],
    [{ tombstones: 'yes' }, 'tombstones: expected true or false, got "yes"'],
  ] as const)('are refused when they are invalid: %o', ([options, message]) => {
    expect(() => defineChannel('points', { payload: Point, ...(options as object) })).toThrow(message)
  })
})

describe('any Standard Schema', () => {
  const zodded = z.object({ at: z.iso.datetime().transform((text) => new Date(text)) })
  const valibotted = v.object({
    at: v.pipe(
      v.string(),
      v.isoTimestamp(),
      v.transform((text) => new Date(text)),
    ),
  })
  const late = {
    zod: zodded.refine(async () => true),
    valibot: v.pipeAsync(
      valibotted,
      v.checkAsync(async () => true),
    ),
  }
  const at = '2026-11-20T06:00:00.000Z'

  it.for([
    ['zod', defineChannel('z', { payload: zodded })],
    ['zod, asynchronous', defineChannel('z', { payload: late.zod })],
    ['valibot', defineChannel('v', { payload: valibotted })],
    ['valibot, asynchronous', defineChannel('v', { payload: late.valibot })],
  ] as const)(
    '%s: the input travels, the handler gets the output, invalid payloads are refused',
    async ([, channel]) => {
      const { got, binding } = keeper(channel)
      const app = await running({ bindings: [binding] })
      await app.send(channel, { at })
      await until('it came', () => got.length === 1)
      expect(got[0]?.payload).toEqual({ at: new Date(at) })
      await expect(app.send(channel, { at: 'today' })).rejects.toMatchObject({
        code: 'core.schema',
        issues: [{ path: 'at' }],
      })
    },
  )
})
