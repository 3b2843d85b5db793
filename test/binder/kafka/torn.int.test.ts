import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, freshTopic, numberOf, plainMessage, Recorder, range, subscribe } from './kit.ts'

const COUNT = 60
const BODY_BYTES = 20_000

/** A way to a broker on which the answers of one connection can be torn: half of a large one arrives, then a reset. */
async function openTearing(port: number): Promise<{ readonly port: number; tear(): void; readonly torn: number }> {
  let isTearing = false
  let torn = 0
  const server = createServer((client) => {
    const broker = connect(port, '127.0.0.1')
    for (const socket of [client, broker]) socket.on('error', () => {})
    client.pipe(broker)
    client.on('close', () => broker.destroy())
    broker.on('close', () => client.destroy())
    broker.on('data', (bytes) => {
      if (!isTearing || bytes.length < BODY_BYTES) {
        client.write(bytes)
        return
      }
      isTearing = false
      torn++
      broker.pause()
      const half = bytes.subarray(0, bytes.length >> 1)
      // A reset that overtakes the half would discard it for the reader.
      client.write(half, () => setTimeout(() => client.resetAndDestroy(), 100))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return {
    port: (server.address() as AddressInfo).port,
    tear: () => {
      isTearing = true
    },
    get torn() {
      return torn
    },
  }
}

describeWith(['kafka'], 'Kafka and a connection that breaks in the middle of an answer', () => {
  it('reads on where it was', async ({ expect }) => {
    const url = serverUrl('kafka') as string
    const way = await openTearing(Number(url.split(':').at(-1)))
    const transport = attached(`127.0.0.1:${way.port}`, {}, undefined, { port: way.port })
    const direct = attached(url)
    const topic = await freshTopic(direct, 1)
    const body = (n: number): Uint8Array => Buffer.from(String(n).padEnd(BODY_BYTES))
    const send = async (from: number): Promise<void> => {
      const messages = range(COUNT, from).map((n) => plainMessage({ destination: topic, body: body(n) }))
      expect(await direct.publish(messages)).toEqual(messages.map(() => undefined))
    }
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder, { partitions: 1 })
    await send(0)
    await until('the first came', () => recorder.got.length >= COUNT)
    way.tear()
    await send(COUNT)
    await until('an answer was torn', () => way.torn > 0)
    await until('the others came', () => new Set(recorder.numbers).size === 2 * COUNT)
    expect(recorder.got.map(numberOf)).toEqual(range(2 * COUNT))
  })
})
