import { setTimeout as pause } from 'node:timers/promises'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { pgClient, pgListener } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { z } from 'zod'
import { median } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'

const COUNT = 400
const EVERY_MS = 25

/**
 * Measures the time from before `send` to the handler at 40 messages a second, with wakes in the process and by NOTIFY.
 */
export async function measureLatency(bed: PostgresBed, { report, progress }: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  for (const [name, isOne, atMost] of [
    ['in one process', true, 3],
    ['by NOTIFY', false, 5],
  ] as const) {
    progress(`latency, ${name}`)
    const times = (await latencies(await bed.database(isOne ? 'inside' : 'notify'), isOne)).toSorted((a, b) => a - b)
    const p50 = median(times)
    rows.push([
      name,
      number(p50),
      number(times[Math.floor(times.length * 0.95)] ?? Number.NaN),
      verdict(p50, { atMost }, ' ms'),
    ])
  }
  const title = `postgres: send to handler, ${COUNT} messages, one each ${EVERY_MS} ms`
  report({ title, head: ['woken', 'p50 ms', 'p95 ms', 'target of p50'], rows })
}

/** Two binders: over one client they know of each other, over two they do not. */
async function latencies(connectionString: string, isOne: boolean): Promise<readonly number[]> {
  const channel = defineChannel('bench', { payload: z.object({ at: z.number() }), partitions: 4, groups: ['g'] })
  const pools = [0, 1].map(() => new pg.Pool({ connectionString, max: 4 }))
  const [own, other] = pools.map((pool) => pgClient(pool)) as [ReturnType<typeof pgClient>, ReturnType<typeof pgClient>]
  const listener = pgListener({ connect: () => new pg.Client({ connectionString }) })
  const times: number[] = []
  const binding = sink(channel, { group: 'g' }, ({ at }) => void times.push(performance.now() - at))
  const reading = postgresTransport({ sql: own, ...(isOne ? {} : { listener }) })
  const reader = createBinder({ service: 'reader', transport: reading, bindings: [binding] })
  const writing = postgresTransport({ sql: isOne ? own : other })
  const sender = createBinder({ service: 'sender', transport: writing, sends: [channel] })
  await reader.start()
  await sender.start()
  await reader.ready()
  for (let n = 0; n < COUNT; n++) {
    await sender.send(channel, { at: performance.now() })
    await pause(EVERY_MS)
  }
  while (times.length < COUNT) await pause(EVERY_MS)
  await sender.close()
  await reader.close()
  await listener.close()
  await Promise.all(pools.map((pool) => pool.end()))
  return times.slice(COUNT / 10)
}
