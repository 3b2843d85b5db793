/** THE bus conformance suite: design section 7 as tests. The bus keeps its word on every transport alike. */
import { randomUUID } from 'node:crypto'
import { defineChannel, sink } from 'concordat/binder'
import { ConfigChanged, PauseBinding, ResumeBinding } from 'concordat/bus'
import type { Transport } from 'concordat/extension'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { type Instance, type InstanceOptions, Ping, SECRET, sortedAddresses, started } from './bus-kit.ts'

export interface BusHarness {
  /** Transport with connections of its own to the broker under test. */
  transport(): Transport
  close(): Promise<void>
}

export function busConformance(name: string, setup: () => Promise<BusHarness>): void {
  describe(`the bus on ${name}`, () => {
    let harness: BusHarness
    beforeAll(async () => {
      harness = await setup()
    })
    afterAll(() => harness?.close())

    const cluster = (): ((options?: InstanceOptions) => Promise<Instance>) => {
      const channel = `b${randomUUID().slice(0, 8)}`
      return (options = {}) => started(harness.transport(), { channel, ...options })
    }

    /** Waits until all instances know each other: that time is not under test. */
    const meet = async <T extends readonly Promise<Instance>[]>(...joining: T) => {
      const instances = await Promise.all(joining)
      const knowsAll = async ({ bus }: Instance): Promise<boolean> => (await bus.members()).length === instances.length
      await until('all know each other', async () => (await Promise.all(instances.map(knowsAll))).every(Boolean))
      return instances
    }

    it('brings an event to every addressed instance once, itself included, and to no other', async ({ expect }) => {
      const join = cluster()
      const [a, b, other] = await meet(
        join({ group: 'eu', instance: 'a' }),
        join({ group: 'us', instance: 'b' }),
        join({ service: 'stock', instance: 'c' }),
      )
      const answer = await a.bus.publish(Ping, { n: 1 }, { to: 'orders:**', ackTimeoutMs: 10_000 })
      expect(answer).toMatchObject({ acked: ['orders:eu:a', 'orders:us:b'], failed: [], ignored: [], missing: [] })
      await a.bus.publish(Ping, { n: 2 }, { to: 'orders:*:b', ackTimeoutMs: 10_000 })
      await b.bus.publish(Ping, { n: 3 }, { to: '**', ackTimeoutMs: 10_000 })
      expect([a.pings, b.pings, other.pings]).toEqual([[1, 3], [1, 2, 3], [3]])
    })

    it('keeps the order of one sender', async ({ expect }) => {
      const join = cluster()
      const [sender, receiver] = await meet(join({ instance: 'a' }), join({ instance: 'b' }))
      const numbers = Array.from({ length: 100 }, (_, n) => n)
      await Promise.all(numbers.map((n) => sender.bus.publish(Ping, { n }, { to: '**' })))
      await until('all came', () => receiver.pings.length >= 100 && sender.pings.length >= 100)
      expect([receiver.pings, sender.pings]).toEqual([numbers, numbers])
    })

    it('handles an event with an id it knows once, and answers it again', async ({ expect }) => {
      const join = cluster()
      const [sender, receiver] = await meet(join({ instance: 'a' }), join({ instance: 'b' }))
      const options = { to: '**', id: 'same', ackTimeoutMs: 10_000 }
      const first = await sender.bus.publish(Ping, { n: 1 }, options)
      const second = await sender.bus.publish(Ping, { n: 1 }, options)
      const acked = sortedAddresses([sender, receiver])
      expect(first).toEqual({ id: 'same', acked, failed: [], ignored: [], missing: [] })
      expect(second).toEqual(first)
      expect([sender.pings, receiver.pings]).toEqual([[1], [1]])
    })

    it('reports who failed and why, and who has no handler', async ({ expect }) => {
      const join = cluster()
      const fails = (): never => {
        throw Object.assign(new Error('no disk'), { code: 'disk.full' })
      }
      const [sender, failing] = await meet(join({ instance: 'a' }), join({ instance: 'b', onPing: fails }))
      const answer = await sender.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 10_000 })
      const error = { name: 'Error', message: 'no disk', code: 'disk.full' }
      expect(answer).toMatchObject({ acked: [sender.bus.address], failed: [{ address: failing.bus.address, error }] })
      const change = await sender.bus.publish(ConfigChanged, { name: 'unwatched' }, { to: '**', ackTimeoutMs: 10_000 })
      expect(change).toMatchObject({ acked: [], ignored: sortedAddresses([sender, failing]), missing: [] })
    })

    it('does not deliver earlier events to an instance', async ({ expect }) => {
      const join = cluster()
      const sender = await join({ instance: 'a' })
      await sender.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 10_000 })
      const late = await join({ instance: 'b' })
      await until('it is known', async () => (await sender.bus.members()).length === 2)
      const answer = await sender.bus.publish(Ping, { n: 2 }, { to: '**', ackTimeoutMs: 10_000 })
      expect(answer.acked).toEqual(sortedAddresses([sender, late]))
      expect(late.pings).toEqual([2])
    })

    it('knows the live instances: those that join, and those that leave', async ({ expect }) => {
      const join = cluster()
      const [first, leaving] = await meet(join({ instance: 'a' }), join({ instance: 'b' }))
      const known = async (): Promise<string[]> => (await first.bus.members()).map(({ instance }) => instance).sort()
      await until('both are known', async () => (await known()).join() === 'a,b')
      await leaving.bus.close()
      await until('one has left', async () => (await known()).join() === 'a')
      const answer = await first.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 10_000 })
      expect(answer).toMatchObject({ acked: [first.bus.address], missing: [] })
    })

    it('believes signed events only, with any of the secrets', async ({ expect }) => {
      const join = cluster()
      const next = `next-${SECRET}`
      const [oldOnly, both, stranger] = await Promise.all([
        join({ instance: 'a', secret: SECRET }),
        join({ instance: 'b', secret: [next, SECRET] }),
        join({ instance: 'c', secret: `other-${SECRET}` }),
      ])
      const unsigned = await join({ instance: 'd' })
      await unsigned.bus.publish(Ping, { n: 1 }, { to: '**' })
      await both.bus.publish(Ping, { n: 2 }, { to: '**' })
      await oldOnly.bus.publish(Ping, { n: 3 }, { to: '**' })
      await until('the last one came', () => both.pings.includes(3) && oldOnly.pings.includes(3))
      await until('the stranger heard them', () => stranger.bus.health().counters.dropped.forged >= 2)
      expect([oldOnly.pings, both.pings, stranger.pings]).toEqual([[3], [2, 3], []])
      expect(both.bus.health().counters.dropped.unsigned).toBeGreaterThan(0)
      expect(oldOnly.bus.health().counters.dropped.forged).toBeGreaterThan(0)
    })

    it('pauses and resumes a binding of every addressed instance by its name', async ({ expect }) => {
      const join = cluster()
      const work = defineChannel(`w${randomUUID().slice(0, 8)}`, { payload: z.object({}), groups: ['g'] })
      const sinkOf = () => ({ bindings: [sink(work, { group: 'g', name: 'work' }, () => {})] })
      const [operator, worker] = await meet(
        join({ service: 'operator', instance: 'o' }),
        join({ instance: 'a', binderOptions: sinkOf() }),
      )
      const state = (): string => worker.binder.binding('work').status().state
      const options = { to: 'orders:**', ackTimeoutMs: 10_000 }
      expect(await operator.bus.publish(PauseBinding, { binding: 'work' }, options)).toMatchObject({
        acked: [worker.bus.address],
      })
      expect(state()).toBe('paused')
      const wrong = await operator.bus.publish(PauseBinding, { binding: 'wrok' }, options)
      expect(wrong.failed[0]?.error).toMatchObject({ code: 'bus.control_refused' })
      expect(wrong.failed[0]?.error.message).toContain('bindings of this instance: work')
      await operator.bus.publish(ResumeBinding, { binding: 'work' }, options)
      expect(state()).toBe('running')
    })

    it('names an instance that is live and does not answer, after the time is over', async ({ expect }) => {
      const join = cluster()
      let release = (): void => {}
      const hangs = (): Promise<void> => new Promise((resolve) => (release = resolve))
      const [sender, hanging] = await meet(join({ instance: 'a' }), join({ instance: 'b', onPing: hangs }))
      const answer = await sender.bus.publish(Ping, { n: 1 }, { to: '**', ackTimeoutMs: 1_000 })
      release()
      expect(answer).toMatchObject({ acked: [sender.bus.address], missing: [hanging.bus.address] })
      expect(hanging.pings).toEqual([1])
    })

    it('a watched config follows its changes', async ({ expect }) => {
      const join = cluster()
      const [sender, watching] = await meet(join({ instance: 'a' }), join({ instance: 'b' }))
      const rates = watching.bus.config('rates', { schema: z.object({ eur: z.number() }), initial: { eur: 1 } })
      const options = { to: 'orders:*:b', ackTimeoutMs: 10_000 }
      await sender.bus.publish(ConfigChanged, { name: 'rates', value: { eur: 2 } }, options)
      expect(rates.value).toEqual({ eur: 2 })
      const wrong = await sender.bus.publish(ConfigChanged, { name: 'rates', value: { eur: 'x' } }, options)
      expect(wrong.failed[0]?.error.code).toBe('core.schema')
      expect(rates.value).toEqual({ eur: 2 })
    })
  })
}
