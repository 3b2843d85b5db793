import { createBinder, defineChannel, encodeMessage, processor, sink, source } from 'concordat/binder'
import { describe, it, onTestFinished } from 'vitest'
import { until } from '../support/until.ts'
import type { CaseContext } from './transport.ts'
import { collector, createTestChannel, started, TestPayload } from './transport-kit.ts'

export function topologyCases(context: CaseContext): void {
  describe('topology', () => {
    it('describes its destinations before it starts, frozen, without a call to the broker', ({ expect }) => {
      const channel = createTestChannel(context.freshName(), ['g'])
      const work = sink(channel, { group: 'g' }, () => {})
      const binder = createBinder({ service: 'conformance', transport: context.transport(), bindings: [work] })
      onTestFinished(() => binder.close())
      const plan = binder.describe()
      const letters = `${channel.name}.g.dlq`
      expect(
        plan.destinations.map(({ name, role, partitions, groups }) => ({ name, role, partitions, groups })),
      ).toEqual([
        { name: channel.name, role: 'channel', partitions: channel.partitions, groups: ['g'] },
        { name: letters, role: 'dead-letters', partitions: 1, groups: ['redrive'] },
      ])
      expect(plan.bindings).toEqual([
        {
          name: `${channel.name}.g`,
          kind: 'sink',
          input: channel.name,
          group: 'g',
          output: null,
          deadLetters: letters,
        },
      ])
      expect(plan.destinations.map(({ parts }) => parts.length > 0)).toEqual([true, true])
      expect(Object.isFrozen(plan.destinations[0]?.parts[0]?.details)).toBe(true)
      expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    })

    it('refuses to start with another number of partitions than the existing one, and names both', async ({
      expect,
    }) => {
      const name = context.freshName()
      const first = collector(createTestChannel(name), 'g')
      const sender = await started(context.transport(), { bindings: [first.binding] })
      const other = defineChannel(name, { payload: TestPayload, partitions: 7, groups: ['g'] })
      const wrong = createBinder({
        service: 'conformance',
        transport: context.transport(),
        bindings: [sink(other, { group: 'other' }, () => {})],
      })
      onTestFinished(() => wrong.close())
      const start = wrong.start()
      await expect(start).rejects.toMatchObject({ code: 'binder.transport', kind: 'mismatch', retryable: false })
      await expect(start).rejects.toThrow(/has 4 partitions on \w+, this service declares 7.*partitions: 4/)
      await sender.send(createTestChannel(name), { key: 'k', n: 1 })
      await until('who was there first goes on', () => first.got.length === 1)
    })

    it.for(['sends', 'output', 'source'] as const)(
      'checks all declarations when it starts, not at the first message: %s',
      async (role, { expect }) => {
        const name = context.freshName()
        await started(context.transport(), { bindings: [collector(createTestChannel(name), 'g').binding] })
        const other = defineChannel(name, { payload: TestPayload, partitions: 7 })
        const input = createTestChannel(context.freshName())
        const options = {
          sends: { sends: [other] },
          output: { bindings: [processor(input, other, { group: 'g', onFailure: 'drop' }, () => undefined)] },
          source: { bindings: [source(other, { everyMs: 60_000 }, () => undefined)] },
        }[role]
        const wrong = createBinder({ service: 'conformance', transport: context.transport(), ...options })
        onTestFinished(() => wrong.close())
        await expect(wrong.start()).rejects.toMatchObject({ kind: 'mismatch', destination: name })
      },
    )

    it('uses an unknown destination unchanged', async ({ expect }) => {
      const channel = defineChannel(context.freshName(), {
        payload: TestPayload,
        key: (payload) => payload.key,
        partitions: 3,
        groups: ['g'],
      })
      const { got, binding } = collector(channel, 'g')
      await started(context.transport(), { bindings: [binding] })
      const relay = await started(context.transport())
      const messages = await Promise.all(
        Array.from({ length: 6 }, async (_, n) => encodeMessage(channel, { key: `k${n}`, n }, 'conformance')),
      )
      expect(await relay.publish(messages)).toEqual(messages.map(() => undefined))
      await until('all came', () => got.length === 6)
    })
  })
}
