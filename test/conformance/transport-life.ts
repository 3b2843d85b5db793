import { createBinder, SendError, sink } from 'concordat/binder'
import { describe, it, onTestFinished } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { insist } from '../support/refusals.ts'
import { gate, until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createOnePartitionChannel, createTestChannel, started } from './transport-kit.ts'

/** The `sendTimeoutMs` of a sender that is in a hurry. */
const HASTY_MS = 2_000

/**
 * Waits for one turn of the event loop: calls that answer in the same turn are done after it; slower calls are in the
 * middle.
 */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function lifeCases(context: CaseContext): void {
  describe('drain', () => {
    it('finishes messages in flight, confirms their settlement and leaves the rest to the next member', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const begun = gate()
      const mayEnd = gate()
      const handled: number[] = []
      const slow = sink(channel, { group: 'g' }, async ({ n }) => {
        begun.open()
        await mayEnd.opened
        handled.push(n)
      })
      const first = await started(context.transport(), { bindings: [slow], drainTimeoutMs: 20_000 })
      await first.sendBatch(
        channel,
        [0, 1, 2].map((n) => ({ key: 'k', n })),
      )
      await begun.opened
      const closing = first.close()
      mayEnd.open()
      await closing
      expect(handled).toEqual([0])
      const rest = collector(channel, 'g')
      await started(context.transport(), { bindings: [rest.binding] })
      await until('the rest came', () => rest.got.length >= 2)
      expect(rest.got.map(({ payload }) => payload.n)).toEqual([1, 2])
    })

    it('leaves no message to the next member that was handled beside an older one of another key', async ({
      expect,
    }) => {
      const channel = createOnePartitionChannel(context.freshName())
      const begun = gate()
      const mayEnd = gate()
      const handled: string[] = []
      const binding = sink(channel, { group: 'g', concurrency: 2 }, async ({ key, n }) => {
        if (key === 'slow' && n === 0) {
          begun.open()
          await mayEnd.opened
        }
        handled.push(`${key} ${n}`)
      })
      const first = await started(context.transport(), { bindings: [binding], drainTimeoutMs: 20_000 })
      const messages = [0, 1, 2].flatMap((n) => ['slow', 'quick'].map((key) => ({ key, n })))
      await first.sendBatch(channel, messages)
      await begun.opened
      await until('the other key overtakes', () => handled.length === 3)
      const closing = first.close()
      mayEnd.open()
      await closing
      const second = await started(context.transport(), { bindings: [binding] })
      await second.send(channel, { key: 'last', n: 0 })
      await until('the last came', () => handled.includes('last 0'))
      const expected = [...messages, { key: 'last', n: 0 }].map(({ key, n }) => `${key} ${n}`)
      expect(handled.toSorted()).toEqual(expected.toSorted())
      const slow = handled.filter((each) => each.startsWith('slow'))
      expect(slow).toEqual(['slow 0', 'slow 1', 'slow 2'])
    })

    it('is idempotent and works on a binder that never started', async ({ expect }) => {
      const binder = createBinder({ service: 'conformance', transport: context.transport() })
      await Promise.all([binder.close(), binder.close()])
      const other = await started(context.transport())
      await Promise.all([other.close(), other.close()])
      expect(other.health().status).toBe('down')
    })
  })

  describe('start', () => {
    const closed = { code: 'binder.closed' }

    it('is refused after close, while it closes, and when close overtakes it', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const create = () =>
        createBinder({
          service: 'conformance',
          transport: context.transport(),
          bindings: [collector(channel, 'g').binding],
        })
      const never = create()
      await never.close()
      await expect(never.start()).rejects.toMatchObject(closed)

      const closing = create()
      await closing.start()
      const ended = closing.close()
      await expect(closing.start()).rejects.toMatchObject(closed)
      await ended
      await expect(closing.start()).rejects.toMatchObject(closed)

      const overtaken = create()
      const starting = overtaken.start()
      await Promise.all([expect(starting).rejects.toMatchObject(closed), overtaken.close()])
    })

    it('is refused the second time, and the first one continues', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      await expect(binder.start()).rejects.toMatchObject(closed)
      await binder.send(channel, { key: 'k', n: 0 })
      await until('it came', () => got.length === 1)
    })
  })

  describe('control', () => {
    it('pauses and resumes a binding without loss or repetition', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const control = binder.binding(`${channel.name}.g`)
      await binder.send(channel, { key: 'k', n: 0 })
      await until('the first came', () => got.length === 1)
      control.pause()
      expect(control.status().state).toBe('paused')
      await binder.sendBatch(
        channel,
        [1, 2, 3].map((n) => ({ key: 'k', n })),
      )
      expect(got).toHaveLength(1)
      control.resume()
      await until('the others came', () => got.length >= 4)
      expect(got.map(({ payload }) => payload.n)).toEqual([0, 1, 2, 3])
    })

    it('stops and starts a binding again', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const control = binder.binding(`${channel.name}.g`)
      await control.stop()
      expect(control.status().state).toBe('stopped')
      await binder.send(channel, { key: 'k', n: 1 })
      await control.start()
      await until('it came', () => got.length > 0)
      expect(got.map(({ payload }) => payload.n)).toEqual([1])
    })

    it('starts a binding that is still being stopped', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const control = binder.binding(`${channel.name}.g`)
      const stopping = control.stop()
      await turn()
      await control.start()
      await stopping
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it came', () => got.length > 0)
      expect(got.map(({ payload }) => payload.n)).toEqual([1])
      expect(control.status().state).toBe('running')
    })

    it('stops a binding during its subscription: the rest of the group gets everything', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const [stopped, rest] = [collector(channel, 'g'), collector(channel, 'g')]
      const binder = await started(context.transport(), { bindings: [stopped.binding] })
      const control = binder.binding(`${channel.name}.g`)
      await control.stop()
      const starting = control.start()
      await turn()
      await control.stop()
      await starting
      expect(control.status().state).toBe('stopped')
      await started(context.transport(), { bindings: [rest.binding] })
      const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
      await binder.sendBatch(
        channel,
        keys.map((key, n) => ({ key, n })),
      )
      await until('all came', () => rest.got.length >= keys.length)
      expect(rest.got.map(({ payload }) => payload.n).toSorted((a, b) => a - b)).toEqual(keys.map((_, n) => n))
      expect(stopped.got).toEqual([])
    })
  })

  describe('reconnect', () => {
    it.runIf(context.killsBroker)(
      'reconnects by itself after the broker was killed and restarted, and loses no accepted message',
      {
        timeout: 180_000,
      },
      async ({ expect }) => {
        const channel = createTestChannel(context.freshName())
        const { got, binding } = collector(channel, 'g')
        const consumer = await started(context.transport(), { bindings: [binding] })
        const sender = await started(context.transport(), { sends: [channel], sendTimeoutMs: 90_000 })
        const accepted = new Set<number>()
        const send = async (n: number): Promise<void> => {
          await sender.send(channel, { key: `k${n % 5}`, n })
          accepted.add(n)
        }
        for (let n = 0; n < 50; n++) await send(n)
        const across = Promise.allSettled(Array.from({ length: 50 }, (_, i) => send(100 + i)))
        const hasty = await started(context.transport(), { sends: [channel], sendTimeoutMs: HASTY_MS })
        await hasty.send(channel, { key: 'k0', n: 999 }).then(() => accepted.add(999))
        await context.broker.kill()
        const waits = [0, HASTY_MS / 2].map(async (afterMs) => {
          await new Promise((resolve) => setTimeout(resolve, afterMs))
          const since = performance.now()
          const error = await hasty.send(channel, { key: 'k0', n: -1 }).catch((reason: unknown) => reason)
          return { error, tookMs: performance.now() - since }
        })
        for (const { error, tookMs } of await Promise.all(waits)) {
          expect(error, 'what stands behind one without an answer has its own time, once').toBeInstanceOf(SendError)
          await expectWithin(tookMs, HASTY_MS * 1.4)
        }
        await until('the consumer noticed', () => consumer.health().status === 'down', 60_000)
        const meanwhile = Promise.allSettled(Array.from({ length: 5 }, (_, i) => send(200 + i)))
        await context.broker.restart()
        await Promise.all([across, meanwhile])
        await consumer.ready({ timeoutMs: 90_000 })
        for (let n = 300; n < 350; n++) await sender.send(channel, { key: `k${n % 5}`, n }).then(() => accepted.add(n))
        const seen = (): Set<number> => new Set(got.map(({ payload }) => payload.n))
        await until('every accepted message was handled', () => [...accepted].every((n) => seen().has(n)), 60_000)
        expect(accepted.size).toBeGreaterThanOrEqual(100)
        expect(consumer.health().status).toBe('up')
      },
    )

    it.runIf(context.killsBroker)(
      'starts by itself when the broker was down at start',
      { timeout: 180_000 },
      async ({ expect }) => {
        const channel = createTestChannel(context.freshName())
        const { got, binding } = collector(channel, 'g')
        await context.broker.kill()
        const binder = createBinder({
          service: 'conformance',
          transport: context.transport(),
          bindings: [binding],
          sendTimeoutMs: 90_000,
        })
        onTestFinished(() => binder.close())
        await binder.start()
        expect(binder.bindings().map(({ state }) => state)).toEqual(['connecting'])
        expect(binder.health().status).toBe('down')
        await expect(binder.ready({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'binder.not_ready' })
        await context.broker.restart()
        await binder.ready({ timeoutMs: 90_000 })
        await insist(() => binder.send(channel, { key: 'k', n: 1 }))
        await until('it came', () => got.length > 0)
        expect(got.map(({ payload }) => payload.n)).toEqual([1])
      },
    )
  })
}
