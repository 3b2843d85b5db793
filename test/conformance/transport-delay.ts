import { createBinder, sink } from 'concordat/binder'
import { MINUTE } from 'concordat/core'
import { describe, it } from 'vitest'
import { persistent } from '../support/refusals.ts'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { ASKED_AGAIN, collector, createTestChannel, deadLettersOf, failingPublish, started } from './transport-kit.ts'

const SOON = Object.freeze({ initialMs: 150, maxMs: 150, jitter: 0 })
/** Backoff longer than any test: no retry comes while it runs. */
const LATE = Object.freeze({ initialMs: 20 * MINUTE, maxMs: 20 * MINUTE, jitter: 0 })

/** RabbitMQ's own interval after which a queue of the ladder repeats a message whose confirm was lost in a crash. */
const BROKER_ASKS_AGAIN_MS = 3 * MINUTE

export function delayCases(context: CaseContext): void {
  describe('delayed messages', () => {
    it('come to every group, not before their time, as they were sent', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('messages'), ['g', 'h'])
      const arrivals: number[] = []
      const g = sink(channel, { group: 'g' }, () => void arrivals.push(Date.now()))
      const h = collector(channel, 'h')
      const binder = await started(context.transport(), { bindings: [g, h.binding] })
      const sentAt = Date.now()
      const options = { delayMs: 1_300, headers: { tenant: 'acme', n: 7 }, time: 1_700_000_000_000 }
      const { id } = await binder.send(channel, { key: 'k', n: 1 }, options)
      await until('both groups got it', () => arrivals.length > 0 && h.got.length > 0)
      expect((arrivals[0] ?? 0) - sentAt).toBeGreaterThanOrEqual(1_300)
      expect(h.got[0]?.payload).toEqual({ key: 'k', n: 1 })
      expect(h.got[0]?.context).toMatchObject({ id, key: 'k', attempt: 1, time: 1_700_000_000_000 })
      expect(h.got[0]?.context.headers).toEqual({ tenant: 'acme', n: 7 })
    })

    it('do not wait for earlier ones that are due later', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('messages'))
      const arrivals = new Map<number, number>()
      const consumer = sink(channel, { group: 'g' }, ({ n }) => void arrivals.set(n, Date.now()))
      const binder = await started(context.transport(), { bindings: [consumer] })
      const delays = [20 * MINUTE, 2_100, 1_000, 500, 40, 0]
      const sentAt = Date.now()
      for (const [n, delayMs] of delays.entries()) await binder.send(channel, { key: 'k', n }, { delayMs })
      await until('all but the first came', () => arrivals.size >= delays.length - 1)
      expect(arrivals.has(0)).toBe(false)
      for (const [n, at] of arrivals) expect(at - sentAt, `delay ${delays[n]}`).toBeGreaterThanOrEqual(delays[n] ?? 0)
    })

    it('come when their sender has gone, in batches too', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('messages'))
      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      const sender = await started(context.transport(), { service: 'sender' })
      const payloads = Array.from({ length: 30 }, (_, n) => ({ key: `k${n % 5}`, n }))
      await sender.sendBatch(channel, payloads, () => ({ delayMs: 800 }))
      await sender.close()
      const seen = (): Set<number> => new Set(got.map(({ payload }) => payload.n))
      await until('all came', () => seen().size >= payloads.length, 60_000)
      expect([...seen()].sort((a, b) => a - b)).toEqual(payloads.map(({ n }) => n))
    })

    it('are refused beyond the longest delay, and nothing is sent', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const binder = await started(context.transport())
      for (const delayMs of [-1, 1.5, 31 * 24 * 60 * MINUTE, Number.NaN])
        await expect(binder.send(channel, { key: 'k', n: 1 }, { delayMs })).rejects.toThrow(/delayMs/)
    })
  })

  describe('delayed retry', () => {
    it('counts attempts and dead-letters the original message, from its channel', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const seen: unknown[] = []
      let position = ''
      const failing = sink(channel, { group: 'g', retry: 'delayed', backoff: SOON }, (_payload, delivery) => {
        const { attempt, id, key, headers, channel: name } = delivery
        if (attempt === 1) position = delivery.position
        seen.push({ attempt, id, key, headers, name, isSamePlace: delivery.position === position })
        throw new RangeError('stock too low')
      })
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      const binder = await started(context.transport(), { bindings: [failing, dead.binding] })
      const { id } = await binder.send(channel, { key: 'k', n: 7 }, { headers: { tenant: 'acme' } })
      await until('it was dead-lettered', () => dead.got.length > 0)
      const same = { id, key: 'k', headers: { tenant: 'acme' }, name: channel.name, isSamePlace: true }
      expect(seen).toEqual([1, 2, 3].map((attempt) => ({ attempt, ...same })))
      const [letter] = dead.got
      expect(letter?.payload).toEqual({ key: 'k', n: 7 })
      expect(letter?.context).toMatchObject({ id, key: 'k' })
      expect(letter?.context.headers).toMatchObject({
        tenant: 'acme',
        'dead-letter-channel': channel.name,
        'dead-letter-position': position,
        'dead-letter-attempts': 3,
        'dead-letter-error-message': 'stock too low',
      })
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('it was settled', () => status().deadLettered === 1)
      expect(status().retried).toBe(2)
    })

    it('comes back to the group that failed and to no other', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'), ['g', 'h'])
      const attempts: number[] = []
      const flaky = sink(channel, { group: 'g', retry: 'delayed', backoff: SOON }, (_payload, { attempt }) => {
        attempts.push(attempt)
        if (attempt === 1) throw new Error('not yet')
      })
      const other = collector(channel, 'h')
      const binder = await started(context.transport(), { bindings: [flaky, other.binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it worked', () => binder.binding(`${channel.name}.g`).status().handled === 1)
      await binder.send(channel, { key: 'k', n: 2 })
      await until('the other group is through', () => other.got.some(({ payload }) => payload.n === 2))
      expect(attempts.slice(0, 2)).toEqual([1, 2])
      expect(other.got.map(({ payload }) => payload.n)).toEqual([1, 2])
    })

    it('lets messages behind failing ones continue, of the same key too', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const handled: number[] = []
      const consumer = sink(channel, { group: 'g', retry: 'delayed', backoff: LATE }, ({ n }) => {
        if (n < 5) throw new Error('hot')
        handled.push(n)
      })
      const binder = await started(context.transport(), { bindings: [consumer] })
      await binder.sendBatch(
        channel,
        Array.from({ length: 15 }, (_, n) => ({ key: 'k', n })),
      )
      await until('the others were handled', () => handled.length >= 10)
      expect(handled).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
      expect(binder.binding(`${channel.name}.g`).status().retried).toBe(5)
    })

    it('continues the count in the next process', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const attempts: number[] = []
      const failing = sink(channel, { group: 'g', retry: 'delayed', backoff: SOON }, (_payload, { attempt }) => {
        attempts.push(attempt)
        throw new Error('always')
      })
      const first = await started(context.transport(), { bindings: [failing] })
      await first.send(channel, { key: 'k', n: 1 })
      const control = first.binding(`${channel.name}.g`)
      await until('it waits for its second attempt', () => control.status().retried >= 1)
      await first.close()
      const calls = attempts.length
      const dead = collector(deadLettersOf(channel, 'g'), 'redrive')
      await started(context.transport(), { bindings: [failing, dead.binding] })
      await until('it was dead-lettered', () => dead.got.length > 0)
      expect(calls).toBeGreaterThanOrEqual(1)
      expect(attempts.at(-1)).toBe(3)
      expect(dead.got[0]?.context.headers).toMatchObject({ 'dead-letter-attempts': 3 })
    })

    it('comes back to a group whose retries are no longer delayed', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const backoff = { initialMs: 1_000, maxMs: 1_000, jitter: 0 }
      const failing = sink(channel, { group: 'g', retry: 'delayed', backoff }, () => {
        throw new Error('the release before')
      })
      const before = await started(context.transport(), { bindings: [failing] })
      await before.send(channel, { key: 'k', n: 1 })
      const control = before.binding(`${channel.name}.g`)
      await until('it waits for its second attempt', () => control.status().retried === 1)
      await before.close()
      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      await until('it came back', () => got.length > 0)
      expect(got[0]).toMatchObject({ payload: { n: 1 }, context: { attempt: 2 } })
    })

    it('does not settle the input while the copy for the next attempt is unconfirmed', async ({ expect }) => {
      const channel = createTestChannel(context.delayedName('attempts'))
      const failing = sink(channel, { group: 'g', retry: 'delayed', backoff: SOON }, () => {
        throw new Error('always')
      })
      let refused = 0
      const noCopies = failingPublish(
        context.transport(),
        (message) => message.destination.endsWith('.retry') && ++refused > 0,
      )
      const first = await started(noCopies, { bindings: [failing], drainTimeoutMs: 0 })
      await first.send(channel, { key: 'k', n: 1 })
      await until('the copy was refused', () => refused > 0)
      await first.close()

      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      await until('the message came again', () => got.length > 0)
      expect(got[0]?.context.attempt).toBe(1)
    })
  })

  describe('delays and the broker', () => {
    it.runIf(context.killsBroker)('outlast a kill of the broker', { timeout: 420_000 }, async ({ expect }) => {
      const channel = createTestChannel(context.freshName(), ['g', 'plain'])
      const plain = collector(channel, 'plain')
      const attempts = new Map<number, number[]>()
      const flaky = sink(channel, { group: 'g', retry: 'delayed', backoff: SOON }, ({ n }, { attempt }) => {
        attempts.set(n, [...(attempts.get(n) ?? []), attempt])
        if (attempt < 3) throw new Error('not yet')
      })
      const binder = createBinder({
        service: 'conformance',
        transport: context.transport(),
        bindings: [flaky, plain.binding],
        sendTimeoutMs: 90_000,
      })
      try {
        await binder.start()
        await binder.ready({ timeoutMs: 60_000 })
        const isDone = (n: number): boolean => attempts.get(n)?.includes(3) === true
        // A broker needs a while before a new queue outlives a kill: this is about messages, not about declarations.
        const sender = persistent(binder, ASKED_AGAIN)
        await sender.send(channel, { key: 'first', n: 100 }, { delayMs: 1_000 })
        await until('the first one was retried', () => isDone(100), 60_000)
        for (let n = 0; n < 10; n++) await sender.send(channel, { key: `k${n}`, n }, { delayMs: 100 + 300 * n })
        await until('some failed', () => attempts.has(1), 60_000)
        await context.broker.kill()
        await context.broker.restart()
        const numbers = Array.from({ length: 10 }, (_, n) => n)
        await until('each came and was retried', () => numbers.every(isDone), BROKER_ASKS_AGAIN_MS + 60_000)
        const seen = (): Set<number> => new Set(plain.got.map(({ payload }) => payload.n))
        await until('the other group has each', () => seen().size === 11, 60_000)
        expect(plain.got.every(({ context: { attempt } }) => attempt === 1)).toBe(true)
      } finally {
        await binder.close()
      }
    })
  })
}
