import { type EncodedMessage, TransportError } from 'concordat/binder'
import { SECOND, silentLogger } from 'concordat/core'
import type { PublishOutcome, Receiver } from 'concordat/extension'
import { expect, it } from 'vitest'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { DelayedMessageListeners, Delays, toDelayed } from '../inside.ts'
import { plainMessage } from '../kit.ts'

/** @param isSick the broker does not answer for this destination */
function setup(isSick: (destination: string) => boolean) {
  const clock = new FakeClock()
  const start = clock.now()
  const receivers = new Map<string, Receiver>()
  const settled: Array<readonly [string, number]> = []
  const closed: string[] = []
  const closing = Promise.withResolvers<void>()
  const busy = new Set<string>()
  const publisher = {
    publish: async (messages: readonly EncodedMessage[], { deadline }: { deadline: number }) => {
      const { destination = '' } = messages[0] ?? {}
      expect(busy.has(destination)).toBe(false)
      busy.add(destination)
      if (isSick(destination)) await Promise.race([clock.sleep(deadline - clock.monotonic()), closing.promise])
      busy.delete(destination)
      const late = new TransportError({ transport: 'kafka', kind: 'timeout', message: 'no confirm in time' })
      return messages.map((): PublishOutcome => (isSick(destination) ? late : undefined))
    },
    close: async (): Promise<void> => {
      closed.push('publisher')
      closing.resolve()
    },
  }
  const subscriber = {
    subscribeTiers: (topic: string, receiver: Receiver) => {
      receivers.set(topic, receiver)
      return Promise.resolve({ pause() {}, resume() {}, close: () => Promise.resolve() })
    },
  }
  const news = new DelayedMessageListeners()
  const parts = { settings: { delayDiscoveryMs: 10_000 }, admin: {}, topics: {}, subscriber, publisher, news }
  const host = { clock, logger: silentLogger, service: 's', instance: 'i' }
  const delays = new Delays(parts as unknown as ConstructorParameters<typeof Delays>[0], host)
  const use = async (...names: string[]): Promise<void> => {
    delays.use(names.map((name) => ({ name, partitions: 1, groups: [], delays: true })))
    await drain()
  }
  const lend = (destination: string, delayMs: number): void => {
    const now = clock.now()
    const { message, tier } = toDelayed(plainMessage({ destination, notBefore: now + delayMs }), now)
    receivers.get(`${destination}.delay`)?.deliver({
      message,
      position: `partition ${tier} offset 7`,
      redelivered: undefined,
      signal: new AbortController().signal,
      ack: () => void settled.push([destination, clock.now() - start]),
      release: () => {},
    })
  }
  return { clock, delays, use, lend, settled, closed }
}

it('a destination that takes no messages delays those of no other', async () => {
  const t = setup((destination) => destination === 'sick')
  await t.use('sick', 'good')
  t.lend('sick', 100)
  await t.clock.advance(200)
  for (let n = 0; n < 4; n++) {
    t.lend('good', 500)
    await t.clock.advance(20_000)
  }
  expect(t.settled.map(([destination, at]) => [destination, Math.floor(at / SECOND)])).toEqual([
    ['good', 0],
    ['good', 20],
    ['good', 40],
    ['good', 60],
  ])
  const closing = t.delays.close()
  await t.clock.advance(30_000)
  await closing
})

it('a close does not wait for publishes that no broker answers', async () => {
  const names = ['a', 'b', 'c', 'd', 'e']
  const t = setup(() => true)
  await t.use(...names)
  for (const name of names) t.lend(name, 100)
  await t.clock.advance(1_000)
  let isClosed = false
  const closing = t.delays.close().then(() => (isClosed = true))
  await t.clock.advance(3_000)
  expect([isClosed, t.closed.length, t.settled]).toEqual([true, 1, []])
  await closing
})
