import { createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import { bytesCodec } from 'concordat/core'
import { describe, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { unlessRefused } from '../support/refusals.ts'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, started } from './transport-kit.ts'

export function sendCases(context: CaseContext): void {
  describe('sending', () => {
    it('resolves when the message is confirmed and hands over id, key, time and source', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const time = Date.now() - 5_000
      const { id } = await binder.send(channel, { key: 'k', n: 1 }, { time })
      await until('it came', () => got.length > 0)
      expect(got[0]?.context).toMatchObject({ id, key: 'k', time, source: 'conformance', attempt: 1, group: 'g' })
    })

    it('keeps the type of every header value', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const headers = {
        text: 'grüße, 世界',
        empty: '',
        digits: '42',
        whole: 42,
        negative: -7,
        big: 2 ** 53 - 1,
        fraction: 0.1,
        yes: true,
        no: false,
        bytes: new Uint8Array([0, 255, 1]),
        nothing: null,
      }
      await binder.send(channel, { key: 'ключ', n: 1 }, { headers })
      await until('it came', () => got.length > 0)
      const received = got[0]?.context.headers ?? {}
      expect({ ...received, bytes: [...(received['bytes'] as Uint8Array)] }).toEqual({ ...headers, bytes: [0, 255, 1] })
      expect(got[0]?.context.key).toBe('ключ')
    })

    it('shows a handler none of its own headers', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it came', () => got.length > 0)
      expect(got[0]?.context.headers).toEqual({})
    })

    it('carries any bytes unchanged', async ({ expect }) => {
      const channel = defineChannel(context.freshName(), {
        payload: z.instanceof(Uint8Array),
        codec: bytesCodec,
        groups: ['g'],
      })
      const bodies: number[][] = []
      const reader = sink(channel, { group: 'g' }, (body) => void bodies.push([...body]))
      const binder = await started(context.transport(), { bindings: [reader] })
      await binder.send(channel, new Uint8Array([0, 1, 2, 253, 254, 255]))
      await binder.send(channel, new Uint8Array([]))
      await until('both came', () => bodies.length >= 2)
      expect(bodies.sort((a, b) => b.length - a.length)).toEqual([[0, 1, 2, 253, 254, 255], []])
    })

    it('refuses an invalid payload and reserved headers, and sends nothing', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      await expect(binder.send(channel, { key: 'k', n: 1.5 })).rejects.toMatchObject({ code: 'core.schema' })
      await expect(binder.send(channel, { key: 'k', n: 1 }, { headers: { ce_id: 'x' } })).rejects.toThrow(
        /reserved prefix/,
      )
      await binder.send(channel, { key: 'k', n: 2 })
      await until('the good one came', () => got.length > 0)
      expect(got.map(({ payload }) => payload.n)).toEqual([2])
    })

    it('gives each published message an outcome of its own', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      const messages = await Promise.all([1, 2, 3].map(async (n) => encodeMessage(channel, { key: 'k', n }, 'relay')))
      expect(await binder.publish(messages)).toEqual([undefined, undefined, undefined])
      await until('all came', () => got.length >= 3)
      expect(got.map(({ payload, context: { id } }) => [payload.n, id])).toEqual(
        messages.map(({ id }, i) => [i + 1, id]),
      )
    })

    it('publishes without a deadline too', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const transport = context.transport()
      const publish = transport.publish.bind(transport)
      transport.publish = (messages) => publish(messages)
      const { got, binding } = collector(channel, 'g')
      const binder = await started(transport, { bindings: [binding] })
      await binder.send(channel, { key: 'k', n: 1 })
      await until('it came', () => got.length > 0)
      expect(got.map(({ payload }) => payload.n)).toEqual([1])
    })

    it('tells of each message once, and the same as in the end', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const transport = context.transport()
      const { got, binding } = collector(channel, 'g')
      await started(transport, { bindings: [binding] })
      const all = Array.from({ length: 20 }, (_, n) => n)
      const messages = await Promise.all(all.map(async (n) => encodeMessage(channel, { key: `k${n}`, n }, 'relay')))
      const told: number[] = []
      const outcomes = await transport.publish(messages, {
        onOutcome: (index, outcome) => void (outcome === undefined && told.push(index)),
      })
      expect(outcomes).toEqual(messages.map(() => undefined))
      expect(told.toSorted((a, b) => a - b)).toEqual(transport.isolatesDestinations === true ? all : [])
      await until('all came', () => got.length >= messages.length)
    })

    it('fails no message over the destination of another one', async ({ expect }) => {
      const [taken, other] = [context.freshName(), context.freshName()]
      const declare = (name: string, partitions: number) => defineChannel(name, { payload: z.number(), partitions })
      const first = await started(context.transport())
      const second = await started(context.transport())
      await first.send(declare(taken, 2), 1).catch(() => {})
      const sends = [declare(taken, 3), declare(other, 2)].map((channel) => second.send(channel, 1))
      const [misfit, fit] = await Promise.allSettled(sends)
      expect(misfit).toMatchObject({ reason: { destination: taken, cause: { kind: 'mismatch' } } })
      // The channel has no reader, and a broker that refuses such messages reports it.
      if (fit?.status === 'rejected')
        expect(fit.reason).toMatchObject({ destination: other, cause: { kind: 'unroutable' } })
    })

    it('carries any key: the empty one, of any script, of any length, and none', async ({ expect }) => {
      const keys = ['', 'null', ' a\tb\u0000', 'ключ', '鍵', '🙂👩‍👩‍👧', 'x'.repeat(1_024), null]
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      const binder = await started(context.transport(), { bindings: [binding] })
      for (const [n, key] of keys.entries()) await binder.send(channel, { key: 'k', n }, { key })
      await until('all came', () => got.length >= keys.length)
      const byNumber = got.toSorted((a, b) => a.payload.n - b.payload.n)
      expect(byNumber.map((received) => received.context.key)).toEqual(keys)
    })

    it('keeps the order of one key over many sends in flight', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      const sender = createBinder({ service: 'conformance', transport: context.transport() })
      onTestFinished(() => sender.close())
      await sender.start()
      const numbers = Array.from({ length: 2_500 }, (_, n) => n)
      // A sender that retries after a refusal has given up the order.
      const refused = new Set<number>()
      const send = (n: number): Promise<unknown> =>
        sender.send(channel, { key: 'k', n }).catch((error: unknown) => {
          unlessRefused(error)
          refused.add(n)
        })
      await Promise.all(numbers.map(send))
      const accepted = numbers.filter((n) => !refused.has(n))
      expect(accepted).not.toEqual([])
      await until('all came', () => got.length >= accepted.length)
      expect(got.map(({ payload }) => payload.n)).toEqual(accepted)
    })
  })
}
