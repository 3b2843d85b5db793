import { type Binder, createBinder, sink } from 'concordat/binder'
import { describe, it } from 'vitest'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, started } from './transport-kit.ts'

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

export function groupCases(context: CaseContext): void {
  describe('groups', () => {
    it('each get every message', async ({ expect }) => {
      const channel = createTestChannel(context.freshName(), ['a', 'b'])
      const a = collector(channel, 'a')
      const b = collector(channel, 'b')
      const binder = await started(context.transport(), { bindings: [a.binding, b.binding] })
      await binder.sendBatch(
        channel,
        numbers(50).map((n) => ({ key: `k${n % 7}`, n })),
      )
      await until('both have all', () => a.got.length >= 50 && b.got.length >= 50)
      for (const { got } of [a, b]) {
        expect(got.map(({ payload }) => payload.n).sort((x, y) => x - y)).toEqual(numbers(50))
      }
    })

    it('share the work among their members without handling a message twice', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const members = [collector(channel, 'g'), collector(channel, 'g')]
      const binders: Binder[] = []
      for (const { binding } of members) binders.push(await started(context.transport(), { bindings: [binding] }))
      const all = (): number[] => members.flatMap(({ got }) => got.map(({ payload }) => payload.n))
      await binders[0]?.sendBatch(
        channel,
        numbers(200).map((n) => ({ key: `k${n % 40}`, n })),
      )
      await until('all were handled', () => new Set(all()).size === 200)
      expect(all().sort((x, y) => x - y)).toEqual(numbers(200))
    })

    it('keep messages sent while none of their members ran', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const sender = await started(context.transport(), { sends: [channel] })
      await sender.sendBatch(
        channel,
        numbers(20).map((n) => ({ key: 'k', n })),
      )
      const late = collector(channel, 'g')
      await started(context.transport(), { bindings: [late.binding] })
      await until('all came', () => late.got.length >= 20)
      expect(late.got.map(({ payload }) => payload.n)).toEqual(numbers(20))
    })

    it('start at the earliest message when they are new, where the transport can', async ({ expect }) => {
      if (context.features.newGroupStartsAtEarliest !== true) {
        expect(context.features.newGroupStartsAtEarliest.missing).not.toBe('')
        return
      }
      const channel = createTestChannel(context.freshName(), ['old'])
      const sender = await started(context.transport(), { sends: [channel] })
      await sender.sendBatch(
        channel,
        numbers(10).map((n) => ({ key: 'k', n })),
      )
      const fresh = collector(channel, 'fresh')
      await started(context.transport(), { bindings: [fresh.binding] })
      await until('all came', () => fresh.got.length >= 10)
      expect(fresh.got.map(({ payload }) => payload.n)).toEqual(numbers(10))
    })

    it('continue after a restart where they stopped', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const before = collector(channel, 'g')
      const first = await started(context.transport(), { bindings: [before.binding] })
      await first.sendBatch(
        channel,
        numbers(30).map((n) => ({ key: `k${n % 3}`, n })),
      )
      await until('all were handled', () => first.binding(`${channel.name}.g`).status().handled === 30)
      await first.close()
      const after = collector(channel, 'g')
      const second = await started(context.transport(), { bindings: [after.binding] })
      await second.send(channel, { key: 'k0', n: 100 })
      await until('the new one came', () => after.got.some(({ payload }) => payload.n === 100))
      expect(after.got.map(({ payload }) => payload.n)).toEqual([100])
    })

    it('without a name get every later message, on each instance', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const sender = await started(context.transport(), { sends: [channel] })
      await sender.send(channel, { key: 'k', n: -1 })
      const readers = [collector(channel, undefined), collector(channel, undefined)]
      for (const { binding } of readers) await started(context.transport(), { bindings: [binding] })
      await sender.sendBatch(
        channel,
        numbers(20).map((n) => ({ key: `k${n % 5}`, n })),
      )
      for (const { got } of readers) {
        await until('all came', () => got.length >= 20)
        expect(got.map(({ payload }) => payload.n).sort((x, y) => x - y)).toEqual(numbers(20))
      }
    })
  })

  describe('configuration errors', () => {
    it('throw at construction and name the binding', ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const handler = (): void => {}
      const twice = [
        sink(channel, { group: 'g', name: 'one' }, handler),
        sink(channel, { group: 'g', name: 'two' }, handler),
      ]
      const make = (bindings: ReturnType<typeof sink>[]) => () =>
        createBinder({ service: 'conformance', transport: context.transport(), bindings })
      expect(make(twice)).toThrow(/one consumer per channel and group/)
      expect(make([sink(channel, { group: 'g', maxAttempts: 0 }, handler)])).toThrow(
        /maxAttempts: expected a whole number >= 1, got 0/,
      )
      expect(make([sink(channel, { group: 'bad name' }, handler)])).toThrow(/group: expected a name/)
      expect(make([sink(channel, { group: 'g', prefech: 3 } as never, handler)])).toThrow(/prefech: expected one of/)
      const empty: Binder = createBinder({ service: 'conformance', transport: context.transport() })
      expect(() => empty.binding('nope')).toThrow(/binding: expected one of/)
    })
  })
}
