import { ConfigChanged } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { type Instance, Ping } from '../conformance/bus-kit.ts'
import { until } from '../support/until.ts'
import { world } from './kit.ts'

it('a cluster membership defines the live instances: one of its instances without a bus is missing, then gone', async () => {
  const server = memoryStateServer()
  const { join } = world()
  const start = async (instance: string) => {
    const store = memoryStateStore({ server })
    const membership = createMembership({ store, cluster: 'shop', service: 'orders', instance, heartbeatMs: 50 })
    onTestFinished(async () => {
      await membership.close()
      await store.close()
    })
    await membership.join()
    return { membership, ...(await join({ instance, members: () => membership.members() })) }
  }
  const [a, b] = await Promise.all([start('a'), start('b')])
  await until('both are members', () => a.membership.members().length === 2)
  const all = [a.bus.address, b.bus.address]
  expect(await a.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 5_000 })).toMatchObject({ acked: all })
  await b.binder.close()
  const answer = await a.bus.publish(Ping, { n: 2 }, { to: '**', ackTimeoutMs: 100 })
  expect(answer).toMatchObject({ acked: [a.bus.address], missing: [b.bus.address] })
  await b.membership.leave()
  await until('it has left', () => a.membership.members().length === 1)
  expect(await a.bus.publish(Ping, { n: 3 }, { to: '**', ackTimeoutMs: 5_000 })).toMatchObject({ missing: [] })
})

it('a shared state can store a config: its versions order loads and announcements', async () => {
  const store = memoryStateStore()
  const settings = createSharedState<unknown>({ store, name: 'settings' })
  onTestFinished(async () => {
    await settings.close()
    await store.close()
  })
  const watch = ({ bus }: Instance) =>
    bus.config('rates', { schema: z.number(), initial: 0, load: () => settings.get('rates') })
  const { join } = world()
  const first = await join({ instance: 'a' })
  const early = watch(first)
  await early.refresh()
  expect([early.value, early.version]).toEqual([0, 0])
  const one = await settings.put('rates', 1)
  const two = await settings.put('rates', 2)
  const late = watch(await join({ instance: 'b' }))
  await until('the late one has loaded it', () => late.value === 2)
  for (const { version, value } of [
    { ...two, value: 2 },
    { ...one, value: 1 },
  ])
    await first.bus.publish(ConfigChanged, { name: 'rates', value, version }, { to: '**', ackTimeoutMs: 5_000 })
  expect([early.value, late.value, early.version]).toEqual([2, 2, two.version])
  await settings.delete('rates')
  await early.refresh()
  expect(early.value).toBe(2)
})
