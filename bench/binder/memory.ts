import { createBinder, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { Arrivals } from '../arrivals.ts'
import { type Measured, timed } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { BATCH, benchChannel, type Payload, payloads, SIZES } from './workload.ts'

const COUNT = 200_000
const TARGET = { atLeast: 200_000 }

export async function measureMemory({ measure }: SuiteOptions): Promise<void> {
  for (const { label, bytes } of SIZES) {
    const all = payloads(COUNT, bytes)
    const target = bytes < 1_000 ? TARGET : undefined
    await measure({ what: `memory, send to handled, ${label}, messages/s`, ours: () => endToEnd(all), target })
  }
}

/** Sends each message separately, a thousand at a time, to a sink that handles eight at once. */
async function endToEnd(all: readonly Payload[]): Promise<Measured> {
  const channel = benchChannel('bench')
  const arrivals = new Arrivals(all.length)
  const binding = sink(channel, { group: 'bench', concurrency: 8 }, () => arrivals.note())
  await using binder = createBinder({ service: 'bench', transport: memoryTransport(), bindings: [binding] })
  await binder.start()
  return await timed(all.length, async () => {
    for (let i = 0; i < all.length; i += BATCH) {
      await Promise.all(all.slice(i, i + BATCH).map((payload) => binder.send(channel, payload)))
    }
    await arrivals.measured()
  })
}
