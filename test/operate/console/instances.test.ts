// oxlint-disable no-restricted-imports -- inside of the console and of the command line: a bus that hangs, a broker that goes away
import type { InstanceWatch, Operator } from '@concordat/cli'
import { expect, test } from 'vitest'
import { Lags, viewOf } from '../../../packages/cli/instances.ts'
import { ConsoleInstances } from '../../../packages/console/instances.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'

test('a watch that fails late does not make the console forget the one that took its place', async () => {
  const clock = new FakeClock()
  const hangs = Promise.withResolvers<InstanceWatch>()
  let closed = 0
  const second = { view: () => ({}), trouble: () => undefined, close: async () => void closed++ }
  const answers = [hangs.promise, Promise.resolve(second as unknown as InstanceWatch)]
  const operator = { bus: { watch: () => answers.shift() } } as unknown as Operator
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const instances = new ConsoleInstances(operator, clock, log)
  const first = instances.view().catch((error: unknown) => error)
  await clock.advance(20_000)
  await instances.view()
  hangs.reject(new Error('not within 20 s'))
  await first
  await instances.close()
  expect(closed).toBe(1)
})

test('closing ends while a server does not answer, and closes a watch that opens later', async () => {
  const clock = new FakeClock()
  const hangs = Promise.withResolvers<InstanceWatch>()
  const operator = { bus: { watch: () => hangs.promise } } as unknown as Operator
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const instances = new ConsoleInstances(operator, clock, log)
  instances.view().catch(() => {})
  const closing = instances.close()
  await clock.advance(1_000)
  await closing
  let closed = 0
  hangs.resolve({
    trouble: () => undefined,
    view: () => ({}),
    close: async () => void closed++,
  } as unknown as InstanceWatch)
  await clock.advance(0)
  expect(closed).toBe(1)
})

test('the lag of a group is unknown once the broker answers no more', async () => {
  const clock = new FakeClock()
  const answers = [Promise.resolve(7), Promise.reject(new Error('no broker'))]
  answers[1]?.catch(() => {})
  const lags = new Lags({ lag: () => answers.shift(), features: { tellsWholeLag: true } } as never, clock)
  const address = { service: 'shop', group: 'default', instance: 'shop-1' }
  const binding = { name: 'orders.stock', channel: 'orders', group: 'stock', partitions: 1, state: 'running' }
  const watched = [{ address, bindings: [binding], leftOut: 0 }] as never
  lags.follow({ instances: () => watched } as never)
  const lag = (): number | undefined => viewOf(watched, lags.known).bindings[0]?.lag
  await clock.advance(2_000)
  expect(lag()).toBe(7)
  await clock.advance(10_000)
  expect(lag()).toBeUndefined()
  lags.close()
})
