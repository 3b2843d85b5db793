/** Sends messages all the time, and handles those of its partitions from any sender: it reports the handled ones. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { pgClient, pgListener } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { z } from 'zod'
import { sharedNow } from '../processes.ts'
import { type Burst, type Ran, serveBursts } from '../serve.ts'

/** Messages of one send. */
const LIST = 50
const PARTITIONS = 8

const [connectionString = ''] = process.argv.slice(2)
const channel = defineChannel('scaled', {
  payload: z.object({ key: z.string(), at: z.number(), text: z.string() }),
  key: ({ key }) => key,
  partitions: PARTITIONS,
  groups: ['g'],
})
const text = 'x'.repeat(160)
let sent = 0
let eachMs: number[] = []
const binding = sink(channel, { group: 'g', concurrency: PARTITIONS, prefetch: 500 }, ({ at }) => {
  eachMs.push(sharedNow() - at)
})
const transport = postgresTransport({
  sql: pgClient(new pg.Pool({ connectionString, max: 8 })),
  listener: pgListener({ connect: () => new pg.Client({ connectionString }) }),
})
const binder = createBinder({ service: 'scale', transport, bindings: [binding], sends: [channel] })
await binder.start()
await binder.ready()

serveBursts(ranFor)

/** `atOnce` messages are not confirmed at any moment. */
async function ranFor({ atOnce, rampMs, countedMs }: Burst): Promise<Ran> {
  let isOver = false
  const before = { cpu: process.cpuUsage(), sent }
  const loop = async (): Promise<void> => {
    while (!isOver) {
      const at = sharedNow()
      await binder.sendBatch(
        channel,
        Array.from({ length: LIST }, () => ({ key: `k${sent++ % 1_000}`, at, text })),
      )
    }
  }
  const loops = Promise.all(Array.from({ length: Math.ceil(atOnce / LIST) }, loop))
  await Promise.race([sleep(rampMs), loops])
  eachMs = []
  const from = performance.now()
  await Promise.race([sleep(countedMs), loops])
  const counted = { eachMs: [...eachMs], countedMs: performance.now() - from }
  isOver = true
  await loops
  // Messages still in flight do not count for the next turn.
  for (let handled = -1; handled !== eachMs.length; await sleep(200)) handled = eachMs.length
  const { user, system } = process.cpuUsage(before.cpu)
  return { ...counted, total: sent - before.sent, cpuUs: user + system }
}
