import { describe, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- order and ends with each inside of amqplib; through a broker: publish.int.test.ts
import { FrameWriter } from '../../../../binder/rabbitmq/publishing/frame-writer.ts'

type Channel = ConstructorParameters<typeof FrameWriter>[0]

/** amqplib's channel, as far as the writer uses it. */
class FakeChannel {
  readonly ch = 3
  readonly written: Uint8Array[] = []
  readonly confirms: unknown[] = []
  /** Bodies that came by `publish`, between the writes. */
  readonly published: string[] = []
  hasRoom = true
  readonly connection = {
    frameMax: 131_072,
    sentSinceLastCheck: false,
    channels: [null, null, null, { buffer: { write: (frames: Uint8Array) => this.#wrote(frames) } }],
  }

  get asChannel(): Channel {
    return this as unknown as Channel
  }

  pushConfirmCallback(onConfirm: unknown): void {
    this.confirms.push(onConfirm)
  }

  publish(_exchange: string, _key: string, content: Uint8Array, _options: object, onConfirm: unknown): boolean {
    this.published.push(`${this.written.length}: ${content.byteLength}`)
    this.confirms.push(onConfirm)
    return this.hasRoom
  }

  #wrote(frames: Uint8Array): boolean {
    this.written.push(frames)
    return this.hasRoom
  }
}

const TO = { exchange: 'orders', routingKey: '0' }
const OPTIONS = { headers: {}, persistent: true, mandatory: false }
const ignore = (): void => undefined

function bodies(frames: Uint8Array): readonly string[] {
  const text = Buffer.from(frames).toString('latin1')
  return text.match(/body-\d+/g) ?? []
}

function publish(writer: FrameWriter, n: number): boolean {
  return writer.publish(TO, Buffer.from(`body-${n}`), OPTIONS, ignore)
}

describe('FrameWriter', () => {
  it('hands messages over together, in order, when it is flushed', ({ expect }) => {
    const channel = new FakeChannel()
    const writer = new FrameWriter(channel.asChannel)
    expect([1, 2, 3].map((n) => publish(writer, n))).toEqual([true, true, true])
    expect(channel.written).toHaveLength(0)
    expect(writer.flush()).toBe(true)
    expect(writer.flush()).toBe(true)
    expect(channel.written.map(bodies)).toEqual([['body-1', 'body-2', 'body-3']])
    expect(channel.confirms).toHaveLength(3)
    expect(channel.connection.sentSinceLastCheck).toBe(true)
  })

  it('hands much over by itself, and says when there is no room', ({ expect }) => {
    const channel = new FakeChannel()
    const writer = new FrameWriter(channel.asChannel)
    channel.hasRoom = false
    let n = 1
    while (publish(writer, n)) n++
    expect(n).toBeGreaterThan(200)
    expect(channel.written.flatMap(bodies)).toHaveLength(n)
  })

  it('lets nothing overtake what amqplib has to write', ({ expect }) => {
    const channel = new FakeChannel()
    const writer = new FrameWriter(channel.asChannel)
    publish(writer, 1)
    writer.publish(TO, Buffer.alloc(1_000_000), OPTIONS, ignore)
    publish(writer, 2)
    writer.publish(TO, Buffer.from('b'), { ...OPTIONS, headers: { nested: { deep: 1 } } }, ignore)
    writer.flush()
    expect(channel.written.map(bodies)).toEqual([['body-1'], ['body-2']])
    expect(channel.published).toEqual(['1: 1000000', '2: 1'])
    expect(channel.confirms).toHaveLength(4)
  })

  it('asks amqplib about a channel or connection that is closing', ({ expect }) => {
    for (const ended of ['channel', 'connection']) {
      const channel = new FakeChannel()
      const writer = new FrameWriter(channel.asChannel)
      Object.assign(ended === 'channel' ? channel : channel.connection, { sendMessage: ignore })
      publish(writer, 1)
      writer.flush()
      expect([ended, channel.published, channel.written]).toEqual([ended, ['0: 6'], []])
    }
  })

  it('publishes through a client that is different inside', ({ expect }) => {
    const channel = new FakeChannel()
    const writer = new FrameWriter({ publish: channel.publish.bind(channel) } as unknown as Channel)
    publish(writer, 1)
    expect(writer.flush()).toBe(true)
    expect(channel.published).toEqual(['0: 6'])
  })
})
