import { createBinder, defineChannel, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'

const Payload = z.object({ n: z.number(), turns: z.number(), fails: z.boolean() })

interface Sent {
  readonly key: string | null
  /** Event loop turns the handler takes. */
  readonly turns: number
  /** Whether the first attempt fails. */
  readonly fails: boolean
}

const sent: fc.Arbitrary<Sent> = fc.record({
  key: fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'e')),
  turns: fc.integer({ min: 0, max: 3 }),
  fails: fc.boolean(),
})

/** Begin and end of each handler call, in the order they happened. */
interface Run {
  readonly key: string | null
  readonly n: number
  readonly what: 'begin' | 'end'
}

async function run(messages: readonly Sent[], concurrency: number, partitions: number): Promise<readonly Run[]> {
  const channel = defineChannel('numbers', { payload: Payload, partitions, groups: ['g'] })
  const runs: Run[] = []
  const backoff = { initialMs: 0, maxMs: 0 }
  const binding = sink(channel, { group: 'g', concurrency, backoff }, async ({ n, turns, fails }, { key, attempt }) => {
    runs.push({ key, n, what: 'begin' })
    for (let i = 0; i < turns; i++) await new Promise(setImmediate)
    runs.push({ key, n, what: 'end' })
    if (fails && attempt === 1) throw new Error('the first attempt fails')
  })
  await using binder = createBinder({ service: 'test', transport: memoryTransport(), bindings: [binding] })
  await binder.start()
  await Promise.all(messages.map(({ key, turns, fails }, n) => binder.send(channel, { n, turns, fails }, { key })))
  await until('all were handled', () => binder.binding('numbers.g').status().handled === messages.length)
  return runs
}

it('a binding handles one message of a key at a time, in the order sent, retries included, with any concurrency', async () => {
  const arguments_ = [
    fc.array(sent, { maxLength: 40 }),
    fc.integer({ min: 1, max: 8 }),
    fc.integer({ min: 1, max: 4 }),
  ] as const
  await fc.assert(
    fc.asyncProperty(...arguments_, async (messages, concurrency, partitions) => {
      const runs = await run(messages, concurrency, partitions)
      for (const key of new Set(messages.map(({ key }) => key)).values()) {
        if (key === null) continue
        const ofKey = runs.filter((step) => step.key === key)
        const expected = messages.flatMap((message, n) => {
          const call = [`${n} begin`, `${n} end`]
          return message.key === key ? (message.fails ? [...call, ...call] : call) : []
        })
        expect(ofKey.map(({ n, what }) => `${n} ${what}`)).toEqual(expected)
      }
    }),
    { numRuns: 60 },
  )
})

it('a binding never runs more handlers at once than the concurrency', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(sent, { maxLength: 40 }),
      fc.integer({ min: 1, max: 4 }),
      async (messages, concurrency) => {
        let running = 0
        for (const { what } of await run(messages, concurrency, 4)) {
          running += what === 'begin' ? 1 : -1
          expect(running).toBeLessThanOrEqual(concurrency)
        }
      },
    ),
    { numRuns: 40 },
  )
})
