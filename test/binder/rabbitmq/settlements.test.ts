import type { Subscription, TransportDelivery } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { until } from '../../support/until.ts'
import { FakeBroker, type FakeChannel } from './fake-broker.ts'
import { attached, numbers, Recorder, subscribe } from './kit.ts'

/** A member of a group of one partition, its queue filled with 0, 1, ... and all of that lent and unsettled. */
async function setup(messages: number, partitions = 1, rebalanceMs = 0) {
  const broker = new FakeBroker()
  const transport = attached({ connect: broker.connect, rebalanceMs })
  const queue = broker.queue(partitions === 1 ? 'orders:g' : 'orders:g:0')
  const join = async (): Promise<{ recorder: Recorder; subscription: Subscription }> => {
    const recorder = Recorder.keeping()
    return { recorder, subscription: await subscribe(transport, 'orders', recorder, { partitions }) }
  }
  const { recorder, subscription } = await join()
  queue.put(...numbers(messages).map(String))
  await until('all are lent', () => recorder.got.length === messages)
  const [consumer] = queue.consumers
  const channel = consumer?.channel as FakeChannel
  const ack = (...which: readonly number[]): void => {
    for (const n of which) (recorder.got[n] as TransportDelivery).ack()
  }
  return { broker, transport, queue, channel, recorder, subscription, join, ack }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('settlements on RabbitMQ', () => {
  it('are one acknowledgement up to the first that is open, and one for each beyond it', async () => {
    const { channel, ack } = await setup(6)
    ack(0, 1, 2, 4)
    await turn()
    expect(channel.acks).toEqual([
      [3, true],
      [5, false],
    ])
    expect([...channel.out.keys()]).toEqual([4, 6])
  })

  it('settlements that wait here when the broker closes the channel come back once and are never sent on another', async () => {
    const { queue, channel, recorder, join, ack } = await setup(3)
    ack(0, 1)
    channel.fail(406, 'PRECONDITION_FAILED - delivery acknowledgement timed out')
    await turn()
    expect(recorder.losses.map(({ message }) => message)).toEqual([
      expect.stringContaining('delivery acknowledgement timed out'),
    ])
    expect(recorder.got[2]?.signal.aborted).toBe(true)
    const { recorder: again } = await join()
    await until('all came again', () => again.got.length === 3)
    ack(2)
    recorder.got[0]?.release()
    await turn()
    expect(again.got.map(({ redelivered }) => redelivered)).toEqual([true, true, true])
    expect(queue.consumers[0]?.channel.acks).toEqual([])
    expect(queue.consumers[0]?.channel.out.size).toBe(3)
  })

  it('count once, with the first of ack and release', async () => {
    const { channel, recorder, ack } = await setup(2)
    ack(0, 0)
    recorder.got[0]?.release()
    recorder.got[1]?.release()
    ack(1)
    await until('it is lent again', () => recorder.got.length === 3)
    expect(channel.acks).toEqual([[1, true]])
    expect([...channel.out.keys()]).toEqual([2])
  })

  it('are sent before the place is given back, and the rest goes back to the queue', async () => {
    const { queue, channel, subscription, ack } = await setup(3)
    ack(0)
    await subscription.close()
    expect(channel.acks).toEqual([[1, true]])
    expect(queue.ready.map(({ body }) => body)).toEqual(['1', '2'])
  })

  it('end with a consumer that the broker cancels: its messages are returned, not kept on a silent channel', async () => {
    const { queue, channel, recorder, join, ack } = await setup(3)
    ack(0)
    queue.cancelConsumers()
    await until('the channel is closed', () => !channel.isOpen)
    expect(channel.acks).toEqual([[1, true]])
    expect(recorder.losses).toHaveLength(1)
    expect(recorder.got[1]?.signal.aborted).toBe(true)
    const { recorder: again } = await join()
    await until('the rest came again', () => again.got.length === 2)
    expect(again.numbers).toEqual([1, 2])
    expect(recorder.losses).toHaveLength(1)
  })

  it('end once with a connection that misses its heartbeats', async () => {
    const { broker, transport, recorder, join, ack } = await setup(2)
    ack(0)
    broker.latest('consume').break(new Error('Heartbeat timeout'))
    expect(recorder.losses).toHaveLength(1)
    const { recorder: again } = await join()
    await until('both came again', () => again.got.length === 2)
    ack(1)
    await turn()
    expect(recorder.losses).toHaveLength(1)
    expect(broker.connections).toHaveLength(2)
    expect(transport.health()).toEqual({ status: 'up' })
  })
})

describe('the count of a group on RabbitMQ', () => {
  it('is taken up again when the queue that counts was deleted', async () => {
    const { broker } = await setup(0, 2, 1)
    const members = broker.queue('orders:g:members')
    await until('it is counted', () => members.consumers.length === 1)
    members.cancelConsumers()
    await until('it is counted again', () => members.consumers.length === 1)
  })

  it('leaves no channel behind when the broker does not answer', async () => {
    const broker = new FakeBroker()
    const transport = attached({ connect: broker.connect, rebalanceMs: 1, requestTimeoutMs: 50 })
    broker.mute.set('orders:g:members', 0)
    await subscribe(transport, 'orders', Recorder.keeping(), { partitions: 2 })
    await until('it has tried again and again', () => (broker.mute.get('orders:g:members') ?? 0) > 4)
    const open = broker.latest('consume').channels.filter(({ isOpen }) => isOpen)
    // One channel for each partition, and one for the present attempt.
    expect(open.length).toBeLessThanOrEqual(3)
  })
})
