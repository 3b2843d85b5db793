import { processor, sink } from 'concordat/binder'
import { describe, it } from 'vitest'
import { gate, until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, deadLettersOf, failingPublish, NO_PAUSE, started } from './transport-kit.ts'

export function settleCases(context: CaseContext): void {
  describe('settle last', () => {
    it('redelivers a message whose process died in the middle of the handler', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const inHandler = gate()
      const first = await started(context.transport(), {
        drainTimeoutMs: 0,
        bindings: [
          sink(channel, { group: 'g' }, (_payload, { signal }) => {
            inHandler.open()
            return new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(new Error('cut off'))),
            )
          }),
        ],
      })
      const { id } = await first.send(channel, { key: 'k', n: 1 })
      await inHandler.opened
      await first.close()

      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      await until('the message came again', () => got.length > 0)
      expect(got[0]?.context.id).toBe(id)
    })

    it('settles no running message when a member dies after others joined and left', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const handled = new Set<number>()
      const stuck = sink(channel, { group: 'g', concurrency: 4 }, async ({ n }, { signal }) => {
        // Every fourth message never ends here: it must be delivered again when this member dies.
        if (n % 4 === 0)
          await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('cut off'))))
        handled.add(n)
      })
      const first = await started(context.transport(), { bindings: [stuck], drainTimeoutMs: 0 })
      await first.sendBatch(
        channel,
        Array.from({ length: 60 }, (_, n) => ({ key: `k${n}`, n })),
      )
      await until('its handlers are stuck', () => first.binding(`${channel.name}.g`).status().running === 4)
      const rest = collector(channel, 'g')
      const passing = await started(context.transport(), { bindings: [rest.binding] })
      await passing.close()
      await first.close()
      await started(context.transport(), { bindings: [rest.binding] })
      const seen = (): Set<number> => new Set([...handled, ...rest.got.map(({ payload }) => payload.n)])
      await until('every message was handled', () => seen().size === 60, 60_000)
      expect([...seen()].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, n) => n))
    })

    it('does not settle the input while an output is unconfirmed', async ({ expect }) => {
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      let calls = 0
      const copy = processor(input, output, { group: 'g' }, (payload) => {
        calls++
        return payload
      })
      let refused = 0
      const noOutput = failingPublish(
        context.transport(),
        (message) => message.destination === output.name && ++refused > 0,
      )
      const first = await started(noOutput, { bindings: [copy], drainTimeoutMs: 0 })
      await first.send(input, { key: 'k', n: 1 })
      await until('the output was refused', () => refused > 0)
      await first.close()
      expect(calls).toBe(1)

      const { got, binding } = collector(output, 'out')
      await started(context.transport(), { bindings: [copy, binding] })
      await until('the output arrived', () => got.length > 0)
      expect(calls).toBe(2)
      expect(got.map(({ payload }) => payload.n)).toEqual([1])
    })

    it('does not settle the input while its dead letter is unconfirmed', async ({ expect }) => {
      const channel = createTestChannel(context.freshName())
      const failing = sink(channel, { group: 'g', maxAttempts: 1 }, () => {
        throw new Error('always')
      })
      let refused = 0
      const noDeadLetters = failingPublish(
        context.transport(),
        (message) => message.destination.endsWith('.dlq') && ++refused > 0,
      )
      const first = await started(noDeadLetters, { bindings: [failing], drainTimeoutMs: 0 })
      await first.send(channel, { key: 'k', n: 1 })
      await until('the dead letter was refused', () => refused > 0)
      await first.close()

      const { got, binding } = collector(deadLettersOf(channel, 'g'), 'redrive')
      await started(context.transport(), { bindings: [failing, binding] })
      await until('the dead letter arrived', () => got.length > 0)
      expect(got.map(({ payload }) => payload.n)).toEqual([1])
    })

    it('gives an output that is sent again the same id', async ({ expect }) => {
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      let calls = 0
      const copy = processor(input, output, { group: 'g', backoff: NO_PAUSE }, (payload) => {
        calls++
        return payload
      })
      const { got, binding } = collector(output, 'out')
      const again = { id: '0198c0de-0000-7000-8000-000000000001' }
      const binder = await started(context.transport(), { bindings: [copy, binding] })
      await binder.send(input, { key: 'k', n: 1 }, again)
      await binder.send(input, { key: 'k', n: 1 }, again)
      await until('both outputs came', () => got.length >= 2)
      expect(calls).toBe(2)
      expect(new Set(got.map(({ context: { id } }) => id)).size).toBe(1)
    })

    it('sends every output of a processor before it settles, and none for undefined', async ({ expect }) => {
      const { several } = await import('concordat/binder')
      const input = createTestChannel(context.freshName())
      const output = createTestChannel(context.freshName(), ['out'])
      const split = processor(input, output, { group: 'g', backoff: NO_PAUSE }, (payload) =>
        payload.n === 0
          ? undefined
          : several([
              { key: 'a', n: payload.n },
              { key: 'a', n: payload.n + 1 },
            ]),
      )
      const { got, binding } = collector(output, 'out')
      const binder = await started(context.transport(), { bindings: [split, binding] })
      await binder.sendBatch(input, [
        { key: 'k', n: 0 },
        { key: 'k', n: 10 },
        { key: 'k', n: 20 },
      ])
      await until('all outputs arrived', () => got.length >= 4)
      expect(got.map(({ payload }) => payload.n)).toEqual([10, 11, 20, 21])
    })
  })
}
