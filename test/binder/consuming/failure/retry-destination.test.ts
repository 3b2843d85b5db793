import { type Binding, type ConsumerOptions, createBinder, defineChannel, sink } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { failingPublish } from '../../../conformance/transport-kit.ts'
import { FakeClock } from '../../../support/locks/fake-clock.ts'

const orders = defineChannel('orders', { payload: z.number(), groups: ['g'] })
const retries = defineChannel('orders.g.retry', { payload: z.number(), groups: ['g'] })

const make = (options: ConsumerOptions): unknown =>
  createBinder({ service: 'test', transport: memoryTransport(), bindings: [sink(orders, options, () => {})] })

async function started(bindings: readonly Binding[], fails: (destination: string) => boolean = () => false) {
  const clock = new FakeClock()
  const transport = failingPublish(memoryTransport({ broker: memoryBroker() }), ({ destination }) => fails(destination))
  const binder = createBinder({ service: 'test', transport, bindings, clock })
  onTestFinished(() => binder.close())
  await binder.start()
  return { binder, clock }
}

describe('retry: delayed', () => {
  it('is refused without a group, with the remedy', () => {
    expect(() => make({ retry: 'delayed' })).toThrow(
      /sink\("orders"\)\.retry: .*a group for the messages to come back to/,
    )
  })

  it('is refused with pauses longer than the longest delay', () => {
    const backoff = { initialMs: 1, maxMs: 31 * 24 * 3_600_000 }
    expect(() => make({ group: 'g', retry: 'delayed', backoff })).toThrow(/backoff\.maxMs/)
  })

  it('is refused when it is another word', () => {
    expect(() => make({ group: 'g', retry: 'later' as 'delayed' })).toThrow(/'blocking' or 'delayed'/)
  })

  it('is refused beside a channel that is declared where its messages wait', () => {
    const bindings = [sink(orders, { group: 'g' }, () => {})]
    const options = { service: 'test', transport: memoryTransport(), bindings }
    const refusal = /another name, for this one holds the retries of "orders \/ g".*got "orders\.g\.retry"/
    expect(() =>
      createBinder({ ...options, bindings: [...bindings, sink(retries, { group: 'h' }, () => {})] }),
    ).toThrow(refusal)
    expect(() => createBinder({ ...options, transport: memoryTransport(), sends: [retries] })).toThrow(refusal)
  })

  it('pauses as configured by backoff', async () => {
    const calls: Array<[number, number]> = []
    const backoff = { initialMs: 100, factor: 10, maxMs: 60_000, jitter: 0 }
    const failing = sink(orders, { group: 'g', retry: 'delayed', maxAttempts: 4, backoff }, (_n, { attempt }) => {
      calls.push([attempt, clock.now() - start])
      throw new Error('always')
    })
    const { binder, clock } = await started([failing])
    const start = clock.now()
    await binder.send(orders, 1)
    await clock.advance(60_000)
    expect(calls).toEqual([
      [1, 0],
      [2, 100],
      [3, 1_100],
      [4, 11_100],
    ])
    expect(binder.binding('orders.g').status()).toMatchObject({ retried: 3, deadLettered: 1 })
  })

  it('tries again in its place when the broker will never take the copy', async () => {
    const calls: number[] = []
    const failing = sink(orders, { group: 'g', retry: 'delayed' }, (_n, { attempt }) => {
      calls.push(attempt)
      throw new Error('always')
    })
    const clock = new FakeClock()
    const inner = memoryTransport()
    const transport = new Proxy(inner, {
      get(target, property) {
        if (property === 'provision')
          return (specs: readonly { name: string }[]) =>
            inner.provision(specs.filter(({ name }) => !name.endsWith('.retry')) as never)
        if (property === 'subscribe')
          return (spec: { destination: string }, receiver: never) =>
            spec.destination.endsWith('.retry')
              ? Promise.resolve({ pause() {}, resume() {}, close: () => Promise.resolve() })
              : inner.subscribe(spec as never, receiver)
        const value: unknown = Reflect.get(target, property, target)
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
    })
    const binder = createBinder({ service: 'test', transport, bindings: [failing], clock })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(orders, 1)
    await clock.advance(60_000)
    expect(calls).toEqual([1, 2, 3])
    expect(binder.binding('orders.g').status()).toMatchObject({ retried: 0, deadLettered: 1 })
  })

  it('counts a foreign message in the retry channel as tried once', async () => {
    const calls: number[] = []
    const failing = sink(orders, { group: 'g', retry: 'delayed' }, (_n, { attempt, channel }) => {
      calls.push(attempt)
      expect(channel).toBe('orders')
      throw new Error('always')
    })
    const { binder, clock } = await started([failing])
    await binder.send(retries, 1)
    await clock.advance(60_000)
    expect(calls).toEqual([2, 3])
  })

  it('shows handlers no header of its own and accepts none from a sender', async () => {
    const seen: unknown[] = []
    const flaky = sink(orders, { group: 'g', retry: 'delayed' }, (_n, { attempt, headers }) => {
      seen.push([attempt, headers])
      if (attempt < 3) throw new Error('not yet')
    })
    const { binder, clock } = await started([flaky])
    await expect(binder.send(orders, 1, { headers: { 'concordat-retry-attempts': 2 } })).rejects.toThrow(/reserved/)
    await binder.publish([
      {
        id: 'forged',
        destination: 'orders',
        key: null,
        type: 'orders',
        source: 'elsewhere',
        contentType: 'application/json',
        time: 0,
        headers: { 'concordat-retry-attempts': 99, 'concordat-retry-position': 'nowhere', tenant: 'acme' },
        body: new TextEncoder().encode('1'),
      },
    ])
    await clock.advance(60_000)
    expect(seen).toEqual([1, 2, 3].map((attempt) => [attempt, { tenant: 'acme' }]))
  })
})
