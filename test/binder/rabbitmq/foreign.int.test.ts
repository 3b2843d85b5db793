import { connect, type GetMessage } from 'amqplib'
import { createBinder, defineChannel, type Headers, redrive, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { expect, it, onTestFinished } from 'vitest'
import { TestPayload } from '../../conformance/transport-kit.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { freshDestination } from './kit.ts'

/** Every type that a field has. */
const FIELDS = {
  text: 'tëxt',
  yes: true,
  nothing: null,
  bytes: Buffer.from([0, 255, 128]),
  int8: -128,
  int64: { '!': 'int64', value: 2 ** 52 },
  double: 0.1,
  float: { '!': 'float', value: 0.5 },
  at: { '!': 'timestamp', value: 1_600_000_000 },
  price: { '!': 'decimal', value: { places: 2, digits: 1_999 } },
  list: [1, 'two', null, [true], { '!': 'timestamp', value: 7 }],
  table: {
    deep: { deeper: [{ raw: Buffer.from([1, 2]) }] },
    cost: { '!': 'decimal', value: { places: 1, digits: 5 } },
  },
}
const PROPERTIES = {
  messageId: 'theirs-1',
  correlationId: 'request-7',
  replyTo: 'their.answers',
  contentType: 'application/json',
  contentEncoding: 'identity',
  priority: 7,
  timestamp: 1_600_000_000,
  type: 'their.type',
  appId: 'them',
  expiration: '3600000',
}
/** Field values as amqplib reads them. */
const READ = { ...FIELDS, int64: 2 ** 52, float: 0.5 }

const ours = (name: string): boolean => /^(cloudEvents:|dead-letter-|concordat-)/.test(name)
const theirs = ({ properties }: GetMessage): object =>
  Object.fromEntries(Object.entries(properties.headers ?? {}).filter(([name]) => !ours(name)))

describeWith(['rabbitmq'], 'a message of another AMQP client', () => {
  const url = serverUrl('rabbitmq') ?? ''

  it('is shown to a handler, stored unchanged as a dead letter, and redriven unchanged', async () => {
    const destination = freshDestination(url, ['g', 'redrive'], 1)
    const channel = defineChannel(destination, { payload: TestPayload, partitions: 1, groups: ['g'] })
    const seen: Headers[] = []
    const refuse = sink(channel, { group: 'g', maxAttempts: 1 }, (_, { headers }) => {
      seen.push(headers)
      throw new Error('not today')
    })
    const binder = createBinder({ service: 'foreign', transport: rabbitTransport({ url }), bindings: [refuse] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    const raw = await listener([destination, `${destination}.g.dlq`])

    raw.publish(destination)
    const [sent] = await raw.next(destination, 1)
    const [letter] = await raw.next(`${destination}.g.dlq`, 1)
    await redrive({ service: 'operator', transport: rabbitTransport({ url }) }, channel, 'g')
    const [, again] = await raw.next(destination, 2)
    await until('it was handled again', () => seen.length === 2)

    expect(seen[0]).toMatchObject({
      text: 'tëxt',
      bytes: new Uint8Array([0, 255, 128]),
      at: 1_600_000_000_000,
      price: 19.99,
      'amqp-reply-to': 'their.answers',
      'amqp-correlation-id': 'request-7',
      'amqp-content-encoding': 'identity',
      'amqp-priority': 7,
      'amqp-expiration': '3600000',
    })
    expect(seen[1]).toEqual(seen[0])
    const { expiration, ...kept } = PROPERTIES
    expect(theirs(sent as GetMessage)).toEqual(READ)
    for (const copy of [letter, again] as GetMessage[]) {
      expect(copy.properties).toMatchObject({ ...kept, expiration: undefined, deliveryMode: 2 })
      expect(theirs(copy)).toEqual({ ...READ, 'amqp-expiration': expiration })
      expect(copy.content.toString()).toBe('{"key":"k","n":1}')
    }
  })

  /** Bare amqplib that sends, and reads the messages of these exchanges. */
  async function listener(exchanges: readonly string[]) {
    const connection = await connect(url)
    onTestFinished(() => connection.close())
    const amqp = await connection.createChannel()
    const came = new Map(exchanges.map((name) => [name, [] as GetMessage[]]))
    for (const name of exchanges) {
      const { queue } = await amqp.assertQueue('', { exclusive: true })
      await amqp.bindQueue(queue, name, '0')
      await amqp.consume(queue, (message) => message && came.get(name)?.push(message as never), { noAck: true })
    }
    return {
      publish: (exchange: string): void =>
        void amqp.publish(exchange, '0', Buffer.from('{"key":"k","n":1}'), { ...PROPERTIES, headers: FIELDS }),
      next: async (exchange: string, count: number): Promise<readonly GetMessage[]> => {
        await until(`${count} came to ${exchange}`, () => came.get(exchange)?.length === count)
        return came.get(exchange) ?? []
      },
    }
  }
})
