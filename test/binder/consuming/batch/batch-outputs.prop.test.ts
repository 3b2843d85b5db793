import { createBinder, defineChannel, type EncodedMessage, failed, processorBatch, produced } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { failingPublish } from '../../../conformance/transport-kit.ts'
import { until } from '../../../support/until.ts'

const Payload = z.object({ key: z.string().nullable(), n: z.number(), failures: z.number() })

interface Plan {
  /** Messages, each with the number of its first calls that fail. */
  readonly messages: ReadonlyArray<{ readonly key: string | null; readonly failures: number }>
  readonly concurrency: number
  readonly maxSize: number
  readonly retry: 'blocking' | 'delayed'
  /** The handler calls that throw, and those during which the broker loses its connections. */
  readonly throws: readonly number[]
  readonly cuts: readonly number[]
  /** The times that outputs are handed to the broker, by number, in which it does not answer. */
  readonly unanswered: readonly number[]
}

const plan: fc.Arbitrary<Plan> = fc.record({
  messages: fc.array(
    fc.record({ key: fc.option(fc.constantFrom('a', 'b', 'c')), failures: fc.constantFrom(0, 0, 0, 1, 2) }),
    { maxLength: 30 },
  ),
  concurrency: fc.integer({ min: 1, max: 3 }),
  maxSize: fc.integer({ min: 1, max: 8 }),
  retry: fc.constantFrom('blocking', 'blocking', 'delayed'),
  throws: fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 2 }),
  cuts: fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 2 }),
  unanswered: fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 1 }),
})

/** The outputs that the broker has, in order. */
async function run(given: Plan): Promise<ReadonlyArray<{ readonly id: string; readonly n: number }>> {
  const { messages, concurrency, maxSize, retry, throws, cuts, unanswered } = given
  const channel = defineChannel('numbers', { payload: Payload, partitions: 2, key: ({ key }) => key, groups: ['g'] })
  const output = defineChannel('out', { payload: z.number(), groups: ['reader'] })
  const broker = memoryBroker()
  const taken: Array<{ id: string; n: number }> = []
  let asked = 0
  let isUnanswered = false
  const transport = failingPublish(
    memoryTransport({ broker }),
    ({ destination }) => isUnanswered && destination === 'out',
  )
  const watched = new Proxy(transport, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target)
      if (property !== 'publish') return value
      return async (sent: readonly EncodedMessage[]) => {
        const hasOutputs = sent.some(({ destination }) => destination === 'out')
        isUnanswered = hasOutputs && unanswered.includes(asked++)
        const outcomes = await target.publish(sent)
        for (const [i, { id, destination, body }] of sent.entries())
          if (destination === 'out' && outcomes[i] === undefined)
            taken.push({ id, n: Number(Buffer.from(body ?? []).toString()) })
        return outcomes
      }
    },
  })
  const calls = new Map<number, number>()
  let call = 0
  const options = { group: 'g', concurrency, retry, batch: { maxSize, maxWaitMs: 1 }, maxAttempts: 100 }
  const binding = processorBatch(
    channel,
    output,
    { ...options, backoff: { initialMs: 0, maxMs: 0 } },
    async (items) => {
      const number = call++
      await new Promise(setImmediate)
      if (cuts.includes(number)) {
        broker.interrupt()
        broker.recover()
      }
      if (throws.includes(number)) throw new Error('the whole call failed')
      return items.map(({ payload: { n, failures } }) => {
        const before = calls.get(n) ?? 0
        calls.set(n, before + 1)
        return before >= failures ? produced(n) : failed(new Error('not yet'))
      })
    },
  )
  await using binder = createBinder({ service: 'test', transport: watched, bindings: [binding], sends: [channel] })
  await binder.start()
  await Promise.all(
    messages.map(({ key, failures }, n) => binder.send(channel, { key, n, failures }, { id: `m-${n}` })),
  )
  const status = () => binder.binding('numbers.g').status()
  await until('every message has its output', () => new Set(taken.map(({ n }) => n)).size === messages.length)
  await until('nothing is under way', () => status().running === 0 && status().queued === 0)
  expect(status().deadLettered).toBe(0)
  return taken
}

it('outputs of batches are never lost and keep their ids and the order of their key under all failures', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (given) => {
      const taken = await run(given)
      const ids = new Map(taken.map(({ n, id }) => [n, id]))
      expect(new Set(taken.map(({ n, id }) => `${n} ${id}`)).size).toBe(ids.size)
      expect(new Set(ids.values()).size).toBe(given.messages.length)
      if (given.retry === 'delayed') return
      for (const key of new Set(given.messages.map((message) => message.key))) {
        if (key === null) continue
        const sent = given.messages.flatMap((message, n) => (message.key === key ? [n] : []))
        const firsts = new Set(taken.map(({ n }) => n).filter((n) => sent.includes(n)))
        expect([...firsts]).toEqual(sent)
      }
    }),
    { numRuns: 40 },
  )
})
