/** Statements that an idle service sends to PostgreSQL. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pgClient, pgListener } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createService } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import type { Bed } from './bed.ts'

/**
 * Time until a relay with a listener is idle, a minute, and until backends have reported the statements of the start.
 */
const SETTLE_MS = 75_000
const COUNT_MS = 30_000
const TARGET_PER_SECOND = 3

const saga = defineSaga('idle', { version: 1, input: z.object({}) }).step('now', { invoke: () => {}, pivot: true })

export async function measureIdle({ postgres }: Bed, options: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  for (const listens of [false, true]) {
    const database = listens ? 'idle_with' : 'idle_without'
    options.progress(`a service that idles, ${listens ? 'with' : 'without'} a listener`)
    const connectionString = await postgres.database(database)
    await using pool = await openPool(connectionString)
    const listener = listens ? pgListener({ connect: () => new pg.Client({ connectionString }) }) : undefined
    {
      const sql = pgClient(pool.it)
      await using service = createService({ name: 'idle', sql, transport: memoryTransport(), sagas: [saga], listener })
      await service.start()
      await sleep(SETTLE_MS)
      const [before, at] = [await postgres.counters(database), performance.now()]
      await sleep(COUNT_MS)
      const commits = (await postgres.counters(database)).commits - before.commits
      const perSecond = commits / ((performance.now() - at) / 1_000)
      const met = verdict(perSecond, listens ? { atMost: TARGET_PER_SECOND } : undefined)
      rows.push([listens ? 'with a listener' : 'without a listener', number(perSecond), met])
    }
    await listener?.close()
  }
  const title = 'A service with outbox, relay, inbox and coordinator that has nothing to do'
  options.report({ title, head: ['who', 'transactions/s', 'target'], rows })
}

async function openPool(connectionString: string): Promise<AsyncDisposable & { readonly it: pg.Pool }> {
  const it = new pg.Pool({ connectionString, max: 10 })
  return { it, [Symbol.asyncDispose]: () => it.end() }
}
