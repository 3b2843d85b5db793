import { defineChannel, processor, sink, sinkBatch } from 'concordat/binder'
import { textCodec } from 'concordat/core'
import { describe, it } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, deadLettersOf, started } from './transport-kit.ts'

/**
 * Cases in which other libraries lose or mix up messages; `docs/contributing/upstream-losses.md` has the whole list.
 */
export function upstreamCases(context: CaseContext): void {
  describe('a loss known from other libraries', () => {
    it('does not happen to an undecodable item of a batch: it is a dead letter, and the others are handled', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const raw = defineChannel(channel.name, { payload: z.string(), codec: textCodec, groups: ['g'] })
      const handled: number[] = []
      const batches = sinkBatch(channel, { group: 'g', batch: { maxSize: 10, maxWaitMs: 200 } }, (items) => {
        for (const { payload } of items) handled.push(payload.n)
      })
      const binder = await started(context.transport(), { bindings: [batches] })
      const sender = await started(context.transport())
      for (const text of ['{"key":"k","n":1}', 'not json {', '{"key":"k","n":2}'])
        await sender.send(raw, text, { key: 'k' })
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('all came to their end', () => handled.length >= 2 && status().deadLettered === 1)
      expect(handled).toEqual([1, 2])
      expect(status()).toMatchObject({ deadLettered: 1, dropped: 0 })
    })

    it('does not happen to other bindings when one is stopped', async ({ expect }) => {
      const [one, two] = [createTestChannel(context.freshName(), ['a', 'b']), createTestChannel(context.freshName())]
      const readers = { a: collector(one, 'a'), b: collector(one, 'b'), two: collector(two, 'g') }
      const bindings = Object.values(readers).map(({ binding }) => binding)
      const binder = await started(context.transport(), { bindings })
      await binder.binding(`${one.name}.a`).stop()
      await binder.send(one, { key: 'k', n: 1 })
      await binder.send(two, { key: 'k', n: 2 })
      await until('the others have theirs', () => readers.b.got.length === 1 && readers.two.got.length === 1)
      expect(readers.a.got).toEqual([])
      await binder.binding(`${one.name}.a`).start()
      await until('it has its own', () => readers.a.got.length === 1)
    })

    it('does not happen to outputs: no key or header of the input leaks into them', async ({ expect }) => {
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      const rename = processor(input, output, { group: 'g' }, ({ n }) => ({ key: `other-${n}`, n }))
      const { got, binding } = collector(output, 'out')
      const binder = await started(context.transport(), { bindings: [rename, binding] })
      await binder.send(input, { key: 'k', n: 1 }, { headers: { tenant: 'acme', scst_partition: 3 } })
      await until('it came', () => got.length > 0)
      expect(got[0]?.context).toMatchObject({ key: 'other-1', headers: {}, source: 'conformance' })
    })

    it('does not happen to a failed message without declared dead letters: their channel exists before it', async ({
      expect,
    }) => {
      const channel = createTestChannel(context.freshName())
      const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
        throw new Error('always')
      })
      const binder = await started(context.transport(), { bindings: [failing] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it failed', () => binder.binding(`${channel.name}.g`).status().deadLettered === 1)
      await binder.close()
      const letters = collector(deadLettersOf(channel, 'g'), 'redrive')
      await started(context.transport(), { bindings: [letters.binding] })
      await until('the unexpected dead letter is there', () => letters.got.length > 0)
      expect(letters.got.map(({ payload }) => payload.n)).toEqual([1])
    })
  })
}
