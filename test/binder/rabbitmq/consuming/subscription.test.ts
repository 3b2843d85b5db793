import type { Receiver, TransportDelivery } from 'concordat/extension'
import { expect, it } from 'vitest'
import { until } from '../../../support/until.ts'
import { FakeBroker, FakeConnection } from '../fake-broker.ts'
import { attached, numberOf, Recorder, subscribe } from '../kit.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Receiver whose deliveries are all with a running handler: none can be given back. */
class Busy implements Receiver {
  readonly got: TransportDelivery[] = []
  recalls = 0
  deliver = (delivery: TransportDelivery): void => void this.got.push(delivery)
  recall = (): void => void this.recalls++
  lost = (): void => {}
}

it('a queue that is given up waits for a running handler for rebalanceTimeoutMs, then its message is another’s', async () => {
  const broker = new FakeBroker()
  const join = (receiver: Receiver): Promise<unknown> => {
    const transport = attached({ connect: broker.connect, rebalanceMs: 1, rebalanceTimeoutMs: 20 })
    return subscribe(transport, 'orders', receiver, { partitions: 2 })
  }
  const busy = new Busy()
  await join(busy)
  broker.queue('orders:g:0').put('0')
  broker.queue('orders:g:1').put('1')
  await until('one member has both queues', () => busy.got.length === 2)

  const other = Recorder.keeping()
  await join(other)
  await until('the other has one of them', () => other.got.length === 1)
  const moved = busy.got.find((delivery) => numberOf(delivery) === other.numbers[0])
  const kept = busy.got.find((delivery) => delivery !== moved)
  expect(busy.recalls).toBeGreaterThan(0)
  expect([moved?.signal.aborted, kept?.signal.aborted]).toEqual([true, false])

  const out = (): string[] =>
    broker.connections
      .flatMap(({ channels }) => channels)
      .flatMap((channel) => [...channel.out.values()].map(({ stored }) => stored.body))
  moved?.ack()
  await turn()
  expect(out()).toHaveLength(2)
  other.got[0]?.ack()
  kept?.ack()
  await until('both are settled, each by who has it', () => out().length === 0)
  expect([busy.got.length, other.got.length]).toEqual([2, 1])
})

it('a subscription that was opening when its transport closed fails with the kind closed', async () => {
  const broker = new FakeBroker()
  const { promise: mayOpen, resolve: open } = Promise.withResolvers<void>()
  const transport = attached({ connect: broker.connect })
  const join = () => subscribe(transport, 'orders', new Recorder(), { partitions: 1 })
  await (await join()).close()
  broker.declared.length = 0
  const connection = broker.latest('consume')
  let opening = 0
  connection.createChannel = async () => {
    const isProvisioned = broker.declared.includes('bind orders:g')
    if (isProvisioned) opening++
    if (isProvisioned) await mayOpen
    return FakeConnection.prototype.createChannel.call(connection)
  }
  const refused = expect(join()).rejects.toMatchObject({ kind: 'closed' })
  await until('the subscription waits for its channel', () => opening > 0)

  await transport.close()
  open()
  await refused
  await turn()
  expect(broker.queue('orders:g').consumers).toEqual([])
})

it('a subscription that lost one of its queues while another was opening fails, and keeps none', async () => {
  const broker = new FakeBroker()
  const { promise: mayOpen, resolve: open } = Promise.withResolvers<void>()
  const transport = attached({ connect: broker.connect, rebalanceMs: 0 })
  const join = () => subscribe(transport, 'orders', new Recorder(), { partitions: 2 })
  await (await join()).close()
  const connection = broker.latest('consume')
  let isOpening = false
  connection.createChannel = async () => {
    const channel = await FakeConnection.prototype.createChannel.call(connection)
    const consume = channel.consume.bind(channel)
    channel.consume = async (name, onMessage) => {
      if (name === 'orders:g:1') isOpening = true
      if (name === 'orders:g:1') await mayOpen
      return consume(name, onMessage)
    }
    return channel
  }
  const [first, second] = [broker.queue('orders:g:0'), broker.queue('orders:g:1')]
  const refused = expect(join()).rejects.toThrow('the queue is gone or moved')
  await until('the first queue is open, the second is not', () => isOpening && first.consumers.length === 1)

  // The broker moves the first queue to another node.
  first.cancelConsumers()
  open()
  await refused
  expect([first.consumers, second.consumers]).toEqual([[], []])
})
