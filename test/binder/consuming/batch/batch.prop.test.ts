import { createBinder, defineChannel, failed, ok, sinkBatch } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { until } from '../../../support/until.ts'

const Payload = z.object({ key: z.string().nullable(), n: z.number(), failures: z.number() })

interface Sent {
  readonly key: string | null
  /** Number of first calls that fail. */
  readonly failures: number
}

const sent: fc.Arbitrary<Sent> = fc.record({
  key: fc.option(fc.constantFrom('a', 'b', 'c', 'd')),
  failures: fc.constantFrom(0, 0, 0, 1, 2),
})

interface Plan {
  readonly messages: readonly Sent[]
  readonly concurrency: number
  readonly maxSize: number
  readonly partitions: number
  /** The calls, by number, that throw, and those during which the broker loses its connections. */
  readonly throws: readonly number[]
  readonly cuts: readonly number[]
}

const plan: fc.Arbitrary<Plan> = fc.record({
  messages: fc.array(sent, { maxLength: 40 }),
  concurrency: fc.integer({ min: 1, max: 4 }),
  maxSize: fc.integer({ min: 1, max: 8 }),
  partitions: fc.integer({ min: 1, max: 3 }),
  throws: fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 3 }),
  cuts: fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 2 }),
})

/** Outcomes in their order, and keys that two simultaneous calls had in common. */
interface Seen {
  readonly outcomes: ReadonlyArray<{ readonly key: string | null; readonly n: number; readonly ok: boolean }>
  readonly overlaps: readonly string[]
  readonly largest: number
}

async function run({ messages, concurrency, maxSize, partitions, throws, cuts }: Plan): Promise<Seen> {
  const channel = defineChannel('numbers', { payload: Payload, partitions, key: ({ key }) => key, groups: ['g'] })
  const broker = memoryBroker()
  const outcomes: Array<{ key: string | null; n: number; ok: boolean }> = []
  const overlaps: string[] = []
  const busy = new Set<string>()
  const calls = new Map<number, number>()
  const handled = new Set<number>()
  let call = 0
  let largest = 0
  const binding = sinkBatch(
    channel,
    {
      group: 'g',
      concurrency,
      batch: { maxSize, maxWaitMs: 1 },
      maxAttempts: 100,
      backoff: { initialMs: 0, maxMs: 0 },
    },
    async (items) => {
      const number = call++
      largest = Math.max(largest, items.length)
      const keys = new Set(items.flatMap(({ payload: { key } }) => key ?? []))
      for (const key of keys) {
        if (busy.has(key)) overlaps.push(key)
        busy.add(key)
      }
      try {
        await new Promise(setImmediate)
        if (cuts.includes(number)) {
          broker.interrupt()
          broker.recover()
        }
        if (throws.includes(number)) throw new Error('the whole call failed')
        return items.map(({ payload: { key, n, failures } }) => {
          const before = calls.get(n) ?? 0
          calls.set(n, before + 1)
          const isOk = before >= failures
          outcomes.push({ key, n, ok: isOk })
          if (isOk) handled.add(n)
          return isOk ? ok : failed(new Error('not yet'))
        })
      } finally {
        for (const key of keys) busy.delete(key)
      }
    },
  )
  await using binder = createBinder({ service: 'test', transport: memoryTransport({ broker }), bindings: [binding] })
  await binder.start()
  await Promise.all(messages.map(({ key, failures }, n) => binder.send(channel, { key, n, failures })))
  await until('all were handled', async () => handled.size === messages.length && (await settled()))
  async function settled(): Promise<boolean> {
    const { state, running, queued } = binder.binding('numbers.g').status()
    return state === 'running' && running === 0 && queued === 0
  }
  expect(binder.binding('numbers.g').status().deadLettered).toBe(0)
  return { outcomes, overlaps, largest }
}

it('batches lose nothing and keep the order of each key under all failures and redeliveries', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (given) => {
      const { outcomes, overlaps, largest } = await run(given)
      expect(overlaps).toEqual([])
      expect(largest).toBeLessThanOrEqual(given.maxSize)
      for (const key of new Set(given.messages.map((message) => message.key))) {
        if (key === null) continue
        const sentNumbers = given.messages.flatMap((message, n) => (message.key === key ? [n] : []))
        // The last calls of each message are in the order sent: overtaking is never permanent.
        const last = new Map<number, number>()
        for (const [at, outcome] of outcomes.entries()) if (outcome.key === key && outcome.ok) last.set(outcome.n, at)
        const inOrder = sentNumbers.map((n) => last.get(n) ?? -1)
        expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b))
        expect(inOrder).not.toContain(-1)
      }
    }),
    { numRuns: 60 },
  )
})
