import { connect } from 'amqplib'
import { createBinder, defineChannel, type Headers, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { expect, it, onTestFinished } from 'vitest'
import { hostileCases, type RawMessage } from '../../conformance/hostile.ts'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { freshDestination } from './kit.ts'

const url = (): string => serverUrl('rabbitmq') as string

async function rawSender() {
  const connection = await connect(url())
  const channel = await connection.createConfirmChannel()
  const publish = async (exchange: string, body: Uint8Array, options: object): Promise<void> => {
    channel.publish(exchange, '0', Buffer.from(body), options)
    await channel.waitForConfirms()
  }
  const send = async (exchange: string, messages: readonly RawMessage[]): Promise<void> => {
    for (const { body, headers = [], contentType } of messages) {
      const own = headers.map(([name, value]) => [name, typeof value === 'string' ? value : Buffer.from(value)])
      await publish(exchange, body, { headers: Object.fromEntries(own), ...(contentType && { contentType }) })
    }
  }
  const inner = (connection as unknown as { connection: { stream: { write(bytes: Buffer): void } } }).connection
  return {
    publish,
    send,
    /** Frames that amqplib would not make. */
    write: (frames: Buffer): void => inner.stream.write(frames),
    channelNumber: (channel as unknown as { ch: number }).ch,
    close: () => connection.close(),
  }
}

/** A table in a table in a table; amqplib can neither write nor read it. */
function nestedTable(levels: number): Buffer {
  const table = Buffer.alloc(levels * 7)
  for (let level = 0; level < levels; level++) {
    const at = level * 7
    table.set([1, 0x61, 0x46], at)
    table.writeUInt32BE((levels - level - 1) * 7, at + 3)
  }
  return table
}

function publishFrames(channel: number, exchange: string, headers: Buffer, body: Buffer): Buffer {
  const method = Buffer.concat([numbers([60, 40, 0]), text(exchange), text('0'), Buffer.from([0])])
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(body.length))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(headers.length)
  const properties = Buffer.concat([numbers([60, 0]), size, numbers([0x2000]), length, headers])
  return Buffer.concat([frame(1, channel, method), frame(2, channel, properties), frame(3, channel, body)])
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([0xce])])
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])

function numbers(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [i, value] of values.entries()) bytes.writeUInt16BE(value, i * 2)
  return bytes
}

describeWith(['rabbitmq'], 'RabbitMQ and messages of bare amqplib', () => {
  hostileCases('RabbitMQ', async () => {
    const { send, close } = await rawSender()
    return {
      transport: () => rabbitTransport({ url: url(), maxMessageBytes: 1_000_000 }),
      send,
      // amqplib writes headers of 64 KiB at most.
      limits: { headers: 4_000, headerBytes: 60_000, bodyBytes: 10_000_000 },
      close,
    }
  })

  it('reads tables, timestamps and decimals, and survives too deeply nested or out-of-range values', async () => {
    const destination = freshDestination(url(), ['g', 'redrive'], 1)
    const seen: Headers[] = []
    const channel = defineChannel(destination, { payload: TestPayload, partitions: 1, groups: ['g'] })
    const binder = createBinder({
      service: 'hostile',
      transport: rabbitTransport({ url: url() }),
      bindings: [sink(channel, { group: 'g' }, (_, { headers }) => void seen.push(headers))],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    const raw = await rawSender()
    onTestFinished(() => raw.close())
    const body = Buffer.from('{"key":"k","n":1}')
    const sent = [
      {
        headers: { at: { '!': 'timestamp', value: 10 }, price: { '!': 'decimal', value: { places: 2, digits: 1999 } } },
      },
      { headers: { list: [1, 'two'], table: { a: null, b: { c: true } } } },
      { headers: { 'cloudEvents:time': { '!': 'timestamp', value: 2 ** 52 } }, timestamp: 2 ** 52 },
    ]
    for (const options of sent) await raw.publish(destination, body, options)
    raw.write(publishFrames(raw.channelNumber, destination, nestedTable(10_000), body))
    await raw.publish(destination, body, {})
    await until('all came', () => seen.length === sent.length + 2)
    expect(seen.slice(0, 2)).toEqual([
      { at: 10_000, price: 19.99, 'amqp-types': '{"at":"timestamp","price":"decimal:2"}' },
      {
        list: '[1,"two"]',
        table: '{"a":null,"b":{"c":true}}',
        'amqp-types': '{"list":"json","table":"json"}',
      },
    ])
    expect(seen.slice(3)).toEqual([{ 'amqp-headers': '(nested too deeply)' }, {}])
    expect(binder.bindings()[0]?.subscribed).toBe(1)
  })
})
