// oxlint-disable no-restricted-imports -- inside of the console: two looks at a bus that hangs
import type { InstanceWatch, Operator } from '@concordat/cli'
import { expect, test } from 'vitest'
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
