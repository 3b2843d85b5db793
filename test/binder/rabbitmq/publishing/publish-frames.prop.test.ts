import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter; through a broker: publish.int.test.ts
import { type PublishFrames, writePublish } from '../../../../binder/rabbitmq/publishing/publish-frames.ts'
// oxlint-disable-next-line no-restricted-imports -- as above
import { toAmqp } from '../../../../binder/rabbitmq/wire/envelope.ts'
import { anyMessage, plainMessage } from '../messages.ts'

const require = createRequire(import.meta.url)
const lib = (file: string): unknown => require(join(dirname(require.resolve('amqplib')), 'lib', file))
const { BasicPublish, BasicProperties, encodeMethod, encodeProperties } = lib('defs.js') as AmqplibFrames
const { makeBodyFrame } = lib('frame.js') as {
  readonly makeBodyFrame: (this: void, channel: number, body: Uint8Array) => Buffer
}
const { publish } = lib('api_args.js') as {
  readonly publish: (this: void, exchange: string, key: string, options: unknown) => object
}

interface AmqplibFrames {
  readonly BasicPublish: number
  readonly BasicProperties: number
  readonly encodeMethod: (this: void, method: number, channel: number, fields: object) => Buffer
  readonly encodeProperties: (this: void, properties: number, channel: number, size: number, fields: object) => Buffer
}

/** What amqplib writes. @throws for what AMQP has no words for */
function byAmqplib({ channel, to, content, options }: PublishFrames): Buffer {
  const fields = publish(to.exchange, to.routingKey, options)
  const method = encodeMethod(BasicPublish, channel, fields)
  const properties = encodeProperties(BasicProperties, channel, content.byteLength, fields)
  const body = content.byteLength === 0 ? [] : [makeBodyFrame(channel, content)]
  return Buffer.concat([method, properties, ...body])
}

const BEFORE = 5

function byUs(frames: PublishFrames, room = 100_000): Buffer | undefined {
  const into = Buffer.alloc(room, 0xff)
  const end = writePublish(into, BEFORE, frames)
  return end === undefined ? undefined : into.subarray(BEFORE, end)
}

const target = fc.record({
  exchange: fc.string({ unit: 'grapheme', maxLength: 60 }),
  routingKey: fc.string({ unit: 'grapheme', maxLength: 60 }),
})
const anyFrames = fc
  .tuple(fc.integer({ min: 1, max: 65_535 }), target, anyMessage, fc.boolean())
  .map(([channel, to, message, mandatory]): PublishFrames => ({ channel, to, ...toAmqp(message, mandatory) }))

function framesOf(fields: Parameters<typeof plainMessage>[0]): PublishFrames {
  return { channel: 1, to: { exchange: 'orders', routingKey: '0' }, ...toAmqp(plainMessage(fields), true) }
}

describe('frames of a published message', () => {
  it('are those of amqplib', ({ expect }) => {
    fc.assert(
      fc.property(anyFrames, (frames) => {
        const ours = byUs(frames)
        if (ours === undefined) expect(() => byAmqplib(frames)).toThrow(TypeError)
        else expect(ours).toEqual(byAmqplib(frames))
      }),
    )
  })

  it('are those of amqplib for all properties and values', ({ expect }) => {
    const headers = {
      'amqp-reply-to': 'answers',
      'amqp-correlation-id': 'c-1',
      'amqp-content-encoding': 'identity',
      'amqp-priority': 7,
      bytes: new Uint8Array([0, 255]),
      half: 0.5,
      minusZero: -0,
      nothing: null,
      yes: true,
      ...Object.fromEntries([-129, -128, 127, 128, 32_768, 2 ** 31, -(2 ** 31), 2 ** 53 - 1].map((n) => [`n${n}`, n])),
    }
    for (const body of [null, new Uint8Array(300)]) {
      const frames = framesOf({ headers, body, time: 2 ** 41 })
      expect(byUs(frames)).toEqual(byAmqplib(frames))
    }
  })

  it('are left to amqplib where a text is too long or a table is in a table', ({ expect }) => {
    const long = 'ü'.repeat(128)
    const plain = framesOf({})
    const left: readonly PublishFrames[] = [
      { ...plain, to: { exchange: long, routingKey: '' } },
      { ...plain, to: { exchange: '', routingKey: long } },
      { ...plain, options: { ...plain.options, contentType: long } },
      { ...plain, options: { ...plain.options, appId: long } },
      framesOf({ headers: { [long]: 1 } }),
      { ...plain, options: { ...plain.options, headers: { table: { inner: 1 } } } },
      { ...plain, options: { ...plain.options, headers: { at: { '!': 'timestamp', value: 1 } } } },
    ]
    expect(left.map((frames) => byUs(frames))).toEqual(left.map(() => undefined))
  })

  it('fit into the room that there is, or are left to amqplib', ({ expect }) => {
    fc.assert(
      fc.property(anyFrames, fc.integer({ min: 0, max: 2_000 }), (frames, room) => {
        expect(byUs(frames, room)?.equals(byAmqplib(frames)) ?? true).toBe(true)
      }),
    )
  })
})
