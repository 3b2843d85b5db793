import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- order and ends with each inside of amqplib; through a broker: publish.int.test.ts
import { FrameWriter } from '../../../../binder/rabbitmq/publishing/frame-writer.ts'

type Channel = ConstructorParameters<typeof FrameWriter>[0]

/** A channel of amqplib, as far as the tests use it. */
interface AmqplibChannel extends Channel {
  readonly ch: number
  readonly unconfirmed: readonly unknown[]
  setOptions(options: object): void
  allocate(): void
  toClosed(stack: string): void
  sendMessage(...args: unknown[]): boolean
}

interface AmqplibConnection {
  frameMax: number
  channelMax: number
  sentSinceLastCheck: boolean
  readonly channels: ReadonlyArray<{ readonly buffer: { write(frames: Uint8Array): boolean } }>
  toClosed(stack: string): void
}

const require = createRequire(import.meta.url)
const lib = (file: string): unknown => require(join(dirname(require.resolve('amqplib')), 'lib', file))
const { Connection } = lib('connection.js') as { Connection: new (stream: PassThrough) => AmqplibConnection }
const { ConfirmChannel } = lib('channel_model.js') as {
  ConfirmChannel: new (connection: AmqplibConnection) => AmqplibChannel
}

/** The installed amqplib, connected to nothing: what its channels are given to write is kept. */
class Wire {
  readonly connection = new Connection(new PassThrough())
  readonly written: Uint8Array[] = []
  hasRoom = true

  constructor() {
    Object.assign(this.connection, { frameMax: 131_072, channelMax: 10 })
  }

  channel(kind = ConfirmChannel): AmqplibChannel {
    const channel = new kind(this.connection)
    channel.setOptions({})
    channel.allocate()
    const buffer = this.connection.channels[channel.ch]?.buffer
    Object.assign(buffer as object, {
      write: (frames: Uint8Array) => {
        this.written.push(frames)
        return this.hasRoom
      },
    })
    return channel
  }

  /** The bodies of each write. */
  get bodies(): ReadonlyArray<readonly string[]> {
    return this.written.map(
      (frames) =>
        Buffer.from(frames)
          .toString('latin1')
          .match(/body-\w+/g) ?? [],
    )
  }
}

const TO = { exchange: 'orders', routingKey: '0' }
const OPTIONS = { headers: {}, persistent: true, mandatory: false }
const ignore = (): void => undefined

/** @returns whether there is room for another message */
function publish(writer: FrameWriter, name: number | string, headers: Record<string, unknown> = {}): boolean {
  writer.publish(TO, Buffer.from(`body-${name}`), { ...OPTIONS, headers }, ignore)
  return writer.hasRoom
}

function flush(writer: FrameWriter): boolean {
  writer.flush()
  return writer.hasRoom
}

describe('FrameWriter', () => {
  it('hands messages over together, in order, when it is flushed', ({ expect }) => {
    const wire = new Wire()
    const channel = wire.channel()
    const writer = new FrameWriter(channel)
    expect([1, 2, 3].map((n) => publish(writer, n))).toEqual([true, true, true])
    expect(wire.written).toHaveLength(0)
    expect([flush(writer), flush(writer)]).toEqual([true, true])
    expect(wire.bodies).toEqual([['body-1', 'body-2', 'body-3']])
    expect(channel.unconfirmed).toHaveLength(3)
    expect(wire.connection.sentSinceLastCheck).toBe(true)
  })

  it('hands much over by itself, and has no room from then on until the channel has drained', ({ expect }) => {
    const wire = new Wire()
    const writer = new FrameWriter(wire.channel())
    wire.hasRoom = false
    let n = 1
    while (publish(writer, n)) n++
    expect(n).toBeGreaterThan(100)
    expect(wire.bodies.flat()).toHaveLength(n)
    wire.hasRoom = true
    expect([publish(writer, 'late'), flush(writer), flush(writer)]).toEqual([false, false, false])
    writer.drained()
    expect([publish(writer, 'later'), flush(writer)]).toEqual([true, true])
  })

  it('lets nothing overtake what amqplib has to write', ({ expect }) => {
    const wire = new Wire()
    const channel = wire.channel()
    const writer = new FrameWriter(channel)
    publish(writer, 1)
    publish(writer, 'nested', { table: { inner: 1 } })
    publish(writer, 2)
    writer.publish(TO, Buffer.from(`body-large${' '.repeat(1_000_000)}`), OPTIONS, ignore)
    publish(writer, 3)
    writer.flush()
    expect(wire.bodies.flat()).toEqual(['body-1', 'body-nested', 'body-2', 'body-large', 'body-3'])
    expect(channel.unconfirmed).toHaveLength(5)
  })

  it('leaves a message that cannot be written out, and those around it in order', ({ expect }) => {
    const wire = new Wire()
    const channel = wire.channel()
    const writer = new FrameWriter(channel)
    publish(writer, 1)
    expect(() => publish(writer, 'bad', { ['n'.repeat(256)]: 1 })).toThrow(RangeError)
    publish(writer, 2)
    writer.flush()
    expect(wire.bodies.flat()).toEqual(['body-1', 'body-2'])
    expect(channel.unconfirmed).toHaveLength(2)
  })

  it('writes nothing to a channel or connection that is over, nor to the next channel of that number', ({ expect }) => {
    for (const over of ['channel', 'connection'] as const) {
      const wire = new Wire()
      const channel = wire.channel()
      const writer = new FrameWriter(channel)
      publish(writer, 1)
      const ended = over === 'channel' ? channel : wire.connection
      ended.toClosed('closed in a test')
      if (over === 'channel') expect(wire.channel().ch).toBe(channel.ch)
      expect(() => publish(writer, 2)).toThrow(/closed/i)
      writer.flush()
      expect([over, wire.bodies.flat()]).toEqual([over, []])
    }
  })

  it('says when a closed channel has sent all that it was given', async ({ expect }) => {
    const wire = new Wire()
    const channel = wire.channel()
    const writer = new FrameWriter(channel)
    let isSent = false
    const sent = writer.sent().then(() => (isSent = true))
    await Promise.resolve()
    expect(isSent).toBe(false)
    channel.toClosed('closed in a test')
    expect(await sent).toBe(true)
    await writer.sent()
  })

  it('calls the methods that a tracer has put in the place of those of amqplib', ({ expect }) => {
    const seen: string[] = []
    class Wrapped extends ConfirmChannel {
      override sendMessage(...args: unknown[]): boolean {
        seen.push('sendMessage')
        return super.sendMessage(...args)
      }
    }
    const wire = new Wire()
    const writer = new FrameWriter(wire.channel(Wrapped))
    publish(writer, 1)
    expect([seen, wire.bodies]).toEqual([['sendMessage'], [['body-1']]])
    const channel = wire.channel()
    const original = channel.publish.bind(channel)
    Object.assign(channel, {
      publish: (...args: Parameters<typeof original>) => {
        seen.push('publish')
        return original(...args)
      },
    })
    publish(new FrameWriter(channel), 2)
    expect(seen).toEqual(['sendMessage', 'publish'])
  })

  it('publishes through another client', ({ expect }) => {
    const sizes: number[] = []
    const other = { publish: (_to: string, _key: string, content: Buffer) => sizes.push(content.byteLength) > 0 }
    const writer = new FrameWriter(other as unknown as Channel)
    expect([publish(writer, 1), flush(writer)]).toEqual([true, true])
    expect(sizes).toEqual([6])
  })
})
