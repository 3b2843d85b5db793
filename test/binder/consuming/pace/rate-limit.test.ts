import { type Binder, type ConsumerOptions, createBinder, defineChannel, sink } from 'concordat/binder'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

interface Setup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
  readonly begun: number[]
}

async function setup(
  rateLimit: ConsumerOptions['rateLimit'],
  options: Partial<ConsumerOptions> = {},
  handler: (n: number, attempt: number) => void = () => {},
): Promise<Setup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const begun: number[] = []
  const binding = sink(channel, { group: 'g', ...options, rateLimit }, (n, { attempt }) => {
    begun.push(n)
    handler(n, attempt)
  })
  const binder = createBinder({ service: 'test', transport, clock, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  return { clock, transport, binder, begun }
}

const deliver = ({ transport }: Setup, count: number): unknown[] =>
  Array.from({ length: count }, (_, n) => transport.subscription.deliver(null, n))

it('a rate limit begins a burst at once and the rest at its rate, in order', async () => {
  const test = await setup({ perSecond: 10, burst: 3 })
  deliver(test, 6)
  await drain()
  expect(test.begun).toEqual([0, 1, 2])
  await test.clock.advance(99)
  expect(test.begun).toHaveLength(3)
  await test.clock.advance(1)
  expect(test.begun).toEqual([0, 1, 2, 3])
  await test.clock.advance(200)
  expect(test.begun).toEqual([0, 1, 2, 3, 4, 5])
})

it('a rate limit has a default burst of one second, and accepts fractions', async () => {
  const test = await setup({ perSecond: 5 })
  deliver(test, 20)
  await drain()
  expect(test.begun).toHaveLength(5)
  const slow = await setup({ perSecond: 0.1 })
  deliver(slow, 2)
  await slow.clock.advance(9_999)
  expect(slow.begun).toEqual([0])
  await slow.clock.advance(1)
  expect(slow.begun).toEqual([0, 1])
})

it('a rate limit saves at most a burst while no message arrives', async () => {
  const test = await setup({ perSecond: 10, burst: 2 })
  await test.clock.advance(60_000)
  deliver(test, 5)
  await drain()
  expect(test.begun).toEqual([0, 1])
})

it('a rate limit counts further attempts without making them wait', async () => {
  const failing = (n: number, attempt: number): void => {
    if (n === 0 && attempt < 3) throw new Error('not yet')
  }
  const test = await setup({ perSecond: 1, burst: 1 }, { backoff: { initialMs: 0, maxMs: 0 } }, failing)
  deliver(test, 2)
  await test.clock.advance(0)
  expect(test.begun).toEqual([0, 0, 0])
  await test.clock.advance(1_999)
  expect(test.begun).toEqual([0, 0, 0])
  await test.clock.advance(1)
  expect(test.begun).toEqual([0, 0, 0, 1])
})

it('a rate limit waits on when a further attempt took the token that a message was waiting for', async () => {
  const failing = (n: number, attempt: number): void => {
    if (n === 0 && attempt === 1) throw new Error('not yet')
  }
  const backoff = { initialMs: 500, maxMs: 500, jitter: 0 }
  const test = await setup({ perSecond: 1, burst: 1 }, { concurrency: 2, backoff }, failing)
  deliver(test, 2)
  await test.clock.advance(1_999)
  expect(test.begun).toEqual([0, 0])
  // No message ends or arrives any more: only the rate limit itself can let message 1 begin.
  await test.clock.advance(1)
  expect(test.begun).toEqual([0, 0, 1])
})

it('a rate limit leaves pause, resume and stop unchanged: waiting messages are returned', async () => {
  const test = await setup({ perSecond: 1, burst: 1 })
  const deliveries = [0, 1, 2].map((n) => test.transport.subscription.deliver(null, n))
  await drain()
  const control = test.binder.binding('numbers.g')
  control.pause()
  await test.clock.advance(5_000)
  expect(test.begun).toEqual([0])
  control.resume()
  await drain()
  expect(test.begun).toEqual([0, 1])
  await control.stop()
  expect(deliveries.map(({ end }) => end)).toEqual(['acked', 'acked', 'released'])
  await test.clock.advance(5_000)
  expect(test.begun).toEqual([0, 1])
})

it('a rate limit fetches no more from the broker than it can handle soon, unless prefetch is set', async () => {
  const prefetch = async (...args: Parameters<typeof setup>): Promise<number> =>
    (await setup(...args)).transport.subscription.spec.prefetch
  expect(await prefetch({ perSecond: 2 })).toBe(20)
  expect(await prefetch({ perSecond: 0.1 })).toBe(1)
  expect(await prefetch({ perSecond: 1, burst: 50 })).toBe(50)
  expect(await prefetch({ perSecond: 1_000 })).toBe(200)
  expect(await prefetch({ perSecond: 2 }, { prefetch: 5 })).toBe(5)
})
