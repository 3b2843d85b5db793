import { createBinder, defineChannel, sink, sinkBatch } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../../support/until.ts'

const channel = defineChannel('items', {
  payload: z.object({ key: z.string(), n: z.number() }),
  key: ({ key }) => key,
  partitions: 2,
  groups: ['g'],
})
const KEYS = ['A', 'B', 'C', 'D']

/** Creates a sender and members of one group whose handlers fail until the test clears the fault. */
async function setup(kind: 'sink' | 'batch', concurrency: number) {
  const broker = memoryBroker()
  const handled: Array<{ key: string; n: number }> = []
  const state = { failing: true }
  const handle = (item: { key: string; n: number }): void => {
    if (state.failing) throw new Error('the warehouse is down')
    handled.push(item)
  }
  const options = {
    group: 'g',
    concurrency,
    backoff: { initialMs: 5, maxMs: 5 },
    maxAttempts: 100,
    circuitBreaker: { failures: 3, pauseMs: 200 },
  }
  const binding =
    kind === 'sink'
      ? sink(channel, options, handle)
      : sinkBatch(channel, { ...options, batch: { maxSize: 2, maxWaitMs: 1 } }, (items) =>
          Promise.allSettled(items.map(async (item) => handle(item.payload))),
        )
  const join = async () => {
    const binder = createBinder({ service: 'test', transport: memoryTransport({ broker }), bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    return binder
  }
  const first = await join()
  for (let n = 1; n <= 3; n++) for (const key of KEYS) await first.send(channel, { key, n })
  return { state, handled, first, join }
}

describe.each(['sink', 'batch'] as const)('a rebalance while the circuit of a %s is open', (kind) => {
  it.each([1, 4])('keeps the order of every key, with concurrency %i', async (concurrency) => {
    const { state, handled, first, join } = await setup(kind, concurrency)
    await until('the circuit is open', () => first.binding('items.g').status().circuit === 'open')
    await join()
    state.failing = false
    await until('all were handled', () => new Set(handled.map(({ key, n }) => key + n)).size === 3 * KEYS.length)
    for (const key of KEYS) {
      const order = handled.filter((item) => item.key === key).map(({ n }) => n)
      expect(order, key).toEqual([1, 2, 3])
    }
  })
})
