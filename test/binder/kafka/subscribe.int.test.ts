import type { TransportDelivery } from 'concordat/extension'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { groupIdOf } from '../../support/inside/binder.ts'
import { describeWith, type PrivateServer, serverUrl, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import {
  attached,
  client,
  freshTopic,
  KEYS,
  numbered,
  numberOf,
  plainMessage,
  Recorder,
  range,
  subscribe,
} from './kit.ts'

const url = (): string => serverUrl('kafka') as string
const QUICK = { sessionTimeoutMs: 1_500, heartbeatIntervalMs: 200, rebalanceTimeoutMs: 6_000, maxWaitMs: 50 } as const

/** Committed offsets of the group for each of four partitions. */
async function committed(topic: string, group = 'g'): Promise<number[]> {
  const admin = client(url()).admin()
  await admin.connect()
  const [offsets] = await admin.fetchOffsets({ groupId: groupIdOf(group, topic), topics: [topic] })
  await admin.disconnect()
  const positions = new Map(offsets?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  return range(4).map((partition) => positions.get(partition) ?? -1)
}

describeWith(['kafka'], 'Kafka subscription', () => {
  it('commits the lowest unfinished offset, and close flushes acknowledged messages', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    await transport.publish(numbered(topic, 40, KEYS))
    const recorder = Recorder.keeping()
    const subscription = await subscribe(transport, topic, recorder)
    await until('all came', () => recorder.got.length === 40)
    const [first] = recorder.got.filter(({ message }) => message.key === 'k0')
    for (const delivery of recorder.got) if (delivery !== first) delivery.ack()
    await subscription.close()
    const at = Number(/^partition (\d)/.exec(first?.position ?? '')?.[1])
    expect(await committed(topic)).toEqual(range(4).map((partition) => (partition === at ? -1 : 10)))
    const again = new Recorder()
    await subscribe(transport, topic, again)
    await until('the unfinished one came again', () => again.numbers.includes(numberOf(first as TransportDelivery)))
    expect(again.got.every(({ message }) => message.key === 'k0')).toBe(true)
  })

  it('hands out at most prefetch', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    await transport.publish(numbered(topic, 200, KEYS))
    const recorder = Recorder.keeping()
    await subscribe(transport, topic, recorder, { prefetch: 7 })
    await until('some came', () => recorder.got.length >= 7)
    await until('more came', () => {
      for (let i = 0; i < 100; i++) recorder.got[i]?.ack()
      return recorder.got.length >= 107
    })
    expect(recorder.got).toHaveLength(107)
  })

  it('continues with other partitions while one settles nothing', async () => {
    const transport = attached(url(), QUICK)
    const topic = await freshTopic(transport)
    await transport.publish(numbered(topic, 2_000, ['k0']))
    const recorder = new Recorder((delivery) => {
      if (delivery.message.key !== 'k0') delivery.ack()
    })
    await subscribe(transport, topic, recorder, { prefetch: 20 })
    await until('the stuck one has its share', () => recorder.got.length >= 15)
    const others = KEYS.filter((key) => key !== 'k0')
    for (let round = 0; round < 3; round++) await transport.publish(numbered(topic, 600, others))
    await until('the others came', () => recorder.got.filter(({ message }) => message.key !== 'k0').length >= 1_800)
    for (const each of recorder.got) each.ack()
    const stuck = (): TransportDelivery[] => recorder.got.filter(({ message }) => message.key === 'k0')
    await until('the stuck one flows', () => {
      for (const each of stuck()) each.ack()
      return stuck().length >= 2_000
    })
    expect(stuck().map(numberOf)).toEqual(range(2_000))
  })

  it('keeps its partitions while a handler is slower than the session timeout', async () => {
    const transport = attached(url(), QUICK)
    const topic = await freshTopic(transport)
    const recorder = Recorder.keeping()
    await subscribe(transport, topic, recorder, { prefetch: 1 })
    await transport.publish(numbered(topic, 3, ['k0']))
    await until('the first came', () => recorder.got.length === 1)
    const begun = performance.now()
    await until('three session timeouts went by', () => performance.now() - begun > 3 * QUICK.sessionTimeoutMs)
    expect([recorder.losses, recorder.got[0]?.signal.aborted]).toEqual([[], false])
    recorder.got[0]?.ack()
    await until('the second came', () => recorder.got.length === 2)
    expect(recorder.numbers).toEqual([0, 1])
  })

  it('gives partitions to a new member only after its handlers have finished, and repeats nothing', async () => {
    const transport = attached(url(), QUICK)
    const topic = await freshTopic(transport)
    await transport.publish(numbered(topic, 400, KEYS))
    const running: TransportDelivery[] = []
    const first = new (class extends Recorder {
      override recall(): void {
        super.recall()
        for (const delivery of this.got) if (!running.includes(delivery)) delivery.release()
      }
    })(() => {})
    await subscribe(transport, topic, first)
    await until('the first member has its fill', () => first.got.length >= 100)
    for (const key of KEYS) running.push(first.got.find(({ message }) => message.key === key) as TransportDelivery)

    const second = new Recorder()
    const joining = subscribe(transport, topic, second)
    await until('it is asked for what has not started', () => first.recalls > 0)
    expect(second.got).toEqual([])
    expect(running.map(({ signal }) => signal.aborted)).toEqual([false, false, false, false])
    for (const delivery of running) delivery.ack()
    await joining
    const handled = running.map(numberOf)
    const seen = (): number[] => [...first.got.slice(firstsOf(first)), ...second.got].map(numberOf)
    function firstsOf(recorder: Recorder): number {
      return recorder.got.filter(({ signal }) => signal.aborted).length
    }
    await until('both work', () => {
      for (const delivery of first.got) delivery.ack()
      return seen().length + handled.length >= 400
    })
    expect(second.got.length).toBeGreaterThan(0)
    expect([...handled, ...seen()].sort((a, b) => a - b)).toEqual(range(400))
  })

  it('withdraws what its handlers do not finish within the rebalance timeout', async () => {
    const transport = attached(url(), { ...QUICK, rebalanceTimeoutMs: 2_000 })
    const topic = await freshTopic(transport, 2)
    await transport.publish(numbered(topic, 4, ['k3', 'k0']))
    const first = Recorder.keeping()
    await subscribe(transport, topic, first, { partitions: 2 })
    await until('the first member has all', () => first.got.length === 4)
    const second = new Recorder()
    await subscribe(transport, topic, second, { partitions: 2 })
    expect(first.got.slice(0, 4).map(({ signal }) => signal.aborted)).toEqual([true, true, true, true])
    first.got[0]?.ack()
    await until('all came again, to both', () => second.got.length + first.got.length - 4 === 4)
    const again = [...first.got.slice(4), ...second.got].map(numberOf)
    expect(again.sort((a, b) => a - b)).toEqual(range(4))
    expect(first.losses).toEqual([])
  })

  it('redelivers released messages, in their order', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    await transport.publish(numbered(topic, 10, ['k']))
    let released = 0
    const recorder = new Recorder((delivery) => {
      if (numberOf(delivery) === 4 && released++ < 3) delivery.release()
      else delivery.ack()
    })
    const subscription = await subscribe(transport, topic, recorder, { partitions: 1 })
    await until('all were handled', () => recorder.got.length >= 13)
    expect(recorder.numbers.filter((n) => n === 4)).toHaveLength(4)
    await subscription.close()
    const after = new Recorder()
    await subscribe(transport, topic, after, { partitions: 1 })
    await transport.publish(numbered(topic, 1, ['k'], 99))
    await until('the new one came', () => after.got.length > 0)
    expect(after.numbers).toEqual([99])
  })

  it('stays paused across a rebalance and keeps its place in the group', async () => {
    const transport = attached(url(), QUICK)
    const topic = await freshTopic(transport)
    const first = new Recorder()
    const subscription = await subscribe(transport, topic, first)
    subscription.pause()
    const second = new Recorder()
    const other = await subscribe(transport, topic, second)
    await transport.publish(numbered(topic, 80, KEYS))
    await until('the other has its half', () => second.got.length === 40)
    expect(first.got).toEqual([])
    await other.close()
    await until('the paused one has all partitions', async () => (await assigned(topic)) === 4)
    subscription.resume()
    await until('the rest came', () => first.got.length === 40)
    expect([...first.numbers, ...second.numbers].sort((a, b) => a - b)).toEqual(range(80))
  })

  it('without a group gets all later messages, and leaves no group behind', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    await transport.publish(numbered(topic, 20, KEYS))
    const recorders = [new Recorder(), new Recorder()]
    const subscriptions = await Promise.all(
      recorders.map((recorder) => subscribe(transport, topic, recorder, { group: null })),
    )
    await transport.publish(numbered(topic, 20, KEYS, 100))
    for (const recorder of recorders) {
      await until('all came', () => recorder.got.length >= 20)
      expect(recorder.numbers.sort((a, b) => a - b)).toEqual(range(20, 100))
    }
    for (const subscription of subscriptions) await subscription.close()
    const admin = client(url()).admin()
    onTestFinished(() => admin.disconnect())
    await admin.connect()
    const { groups } = await admin.listGroups()
    expect(groups.filter(({ groupId }) => groupId.endsWith(topic))).toEqual([])
  })

  it('does not mix up groups of one name on two topics', async () => {
    const transport = attached(url(), QUICK)
    const topics = [await freshTopic(transport), await freshTopic(transport)]
    const recorders = [new Recorder(), new Recorder()]
    for (const [i, topic] of topics.entries()) await subscribe(transport, topic, recorders[i] as Recorder)
    for (const topic of topics) await transport.publish(numbered(topic, 40, KEYS))
    for (const recorder of recorders) await until('all came', () => recorder.got.length >= 40)
    expect(recorders.map(({ got }) => got.length)).toEqual([40, 40])
  })

  it('takes records of other programs, tombstones and empty payloads', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const producer = client(url()).producer({ createPartitioner: () => () => 0 })
    onTestFinished(() => producer.disconnect())
    await producer.connect()
    const headers = { note: ['a', 'b'], raw: Buffer.from([0xff]) }
    await producer.send({ topic, messages: [{ key: 'k', value: 'plain', headers }] })
    await transport.publish([
      plainMessage({ destination: topic, key: 'k', body: null }),
      plainMessage({ destination: topic, key: 'k', body: new Uint8Array() }),
    ])
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder, { partitions: 1 })
    await until('all came', () => recorder.got.length >= 3)
    const [foreign, tombstone, empty] = recorder.got.map(({ message }) => message)
    expect(foreign?.id).toMatch(new RegExp(`^${topic}/0/0/\\d{13}$`))
    expect(foreign).toMatchObject({ key: 'k', headers: { note: 'b', raw: new Uint8Array([0xff]) } })
    expect([tombstone?.body, empty?.body]).toEqual([null, new Uint8Array()])
    expect(recorder.got[0]?.position).toBe('partition 0 offset 0')
  })

  it('commits past the control records of transactions', async () => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    const producer = client(url()).producer({
      transactionalId: topic,
      maxInFlightRequests: 1,
      createPartitioner: () => () => 2,
    })
    onTestFinished(() => producer.disconnect())
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value: 'a' }, { value: 'b' }] })
    await transaction.commit()
    const recorder = new Recorder()
    const subscription = await subscribe(transport, topic, recorder)
    await until('both came', () => recorder.got.length >= 2)
    await subscription.close()
    expect((await committed(topic))[2]).toBe(3)
  })
})

async function assigned(topic: string): Promise<number> {
  const admin = client(url()).admin()
  await admin.connect()
  const { groups } = await admin.describeGroups([groupIdOf('g', topic)])
  await admin.disconnect()
  return groups[0]?.state === 'Stable' && groups[0].members.length === 1 ? 4 : 0
}

describeWith(['kafka'], 'Kafka subscription on a broker of its own', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('kafka')
  })
  afterAll(() => server.stop())

  it('is lost once when the broker dies, and a new one continues after the restart', async () => {
    onTestFinished(() => server.start())
    const transport = attached(server.url, QUICK, 30_000)
    const topic = await freshTopic(transport)
    const recorder = Recorder.keeping()
    await subscribe(transport, topic, recorder)
    await transport.publish(numbered(topic, 8, KEYS))
    await until('all came', () => recorder.got.length >= 8)
    await server.kill()
    await until('it is lost', () => recorder.losses.length > 0)
    expect(recorder.losses[0]).toMatchObject({ code: 'binder.transport', retryable: true })
    expect(recorder.got.every(({ signal }) => signal.aborted)).toBe(true)
    expect(transport.health().status).toBe('down')
    await expect(transport.subscribe(spec(topic), new Recorder())).rejects.toMatchObject({ retryable: true })
    await server.start()
    const next = new Recorder()
    await subscribe(transport, topic, next)
    await until('all came again', () => next.got.length >= 8)
    expect(next.numbers.sort((a, b) => a - b)).toEqual(range(8))
    expect(recorder.losses).toHaveLength(1)
  })

  it('is lost when the broker falls silent for a session timeout, and closes in time', async () => {
    onTestFinished(() => server.resume())
    const transport = attached(server.url, QUICK)
    const topic = await freshTopic(transport)
    const recorder = Recorder.keeping()
    const subscription = await subscribe(transport, topic, recorder)
    await transport.publish(numbered(topic, 4, KEYS))
    await until('all came', () => recorder.got.length >= 4)
    server.pause()
    const begun = performance.now()
    await until('it is lost', () => recorder.losses.length > 0, 10_000)
    await expectWithin(performance.now() - begun, QUICK.sessionTimeoutMs + 2_000)
    await subscription.close()
    await transport.close()
    await expectWithin(performance.now() - begun, 25_000)
  })

  it('rejects within its timeout when no broker answers', async () => {
    const transport = attached('127.0.0.1:1', { connectTimeoutMs: 500 })
    const begun = performance.now()
    await expect(transport.subscribe(spec('t'), new Recorder())).rejects.toMatchObject({
      code: 'binder.transport',
      retryable: true,
    })
    await expectWithin(performance.now() - begun, 3_000)
  })
})

function spec(destination: string) {
  return { destination, partitions: 4, group: 'g', prefetch: 100, prefetchBytes: 1_000_000 }
}
