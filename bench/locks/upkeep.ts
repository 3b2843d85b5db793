/** Cost of idle leases and waiters, and the memory that a hundred thousand released locks leave behind. */
import { redisLocks } from 'concordat/redis'
import type { Bed } from '../bed.ts'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { lookOn, upkeepTable } from '../upkeep.ts'
import { TTL_MS } from './sides.ts'
import { concordat } from './waiters.ts'

const HELD = 10_000
const WAITERS = 1_000
/** Three renewals of each lease. */
const SECONDS = 10
const PAIRS = 100_000
const AT_ONCE = 64

export async function measureUpkeep(bed: Bed, options: SuiteOptions): Promise<void> {
  options.progress(`${HELD} leases held for ${SECONDS} s`)
  const renewals = await holding(bed)
  options.progress(`${WAITERS} waiters for ${SECONDS} s`)
  const waiting = await standing(bed)
  options.report(upkeepTable('kept for a while, one process, one connection', [renewals, waiting]))
  await measureHeap(bed, options)
}

async function holding(bed: Bed) {
  await using locks = redisLocks({ url: bed.url, prefix: `${bed.prefix}held:` })
  for (let from = 0; from < HELD; from += AT_ONCE) {
    const keys = Array.from({ length: Math.min(AT_ONCE, HELD - from) }, (_, i) => `held-${from + i}`)
    await Promise.all(keys.map((key) => locks.acquire(key, { ttlMs: TTL_MS, waitMs: 0 })))
  }
  const upkeep = await lookOn(bed.stats, `${HELD} leases, ttl ${TTL_MS / 1_000} s`, SECONDS, concordat.direct)
  const { held } = locks.health()
  if (held !== HELD) throw new Error(`${HELD - held} of ${HELD} leases were lost under no load`)
  return upkeep
}

async function standing(bed: Bed) {
  await using locks = redisLocks({ url: bed.url, prefix: `${bed.prefix}standing:` })
  const holder = await locks.acquire('one', { ttlMs: TTL_MS })
  const over = new AbortController()
  const waiters = Array.from({ length: WAITERS }, () =>
    locks.acquire('one', { waitMs: Number.POSITIVE_INFINITY, signal: over.signal }).catch(() => {}),
  )
  const upkeep = await lookOn(bed.stats, `${WAITERS} waiters, heartbeat 1 s`, SECONDS, concordat.direct)
  over.abort()
  await Promise.all(waiters)
  await holder.release()
  return upkeep
}

const HEAP_HEAD = ['what', 'heap before MB', 'after MB', 'bytes a lock', 'RSS after MB', 'Redis bytes a key'] as const

/** Measures with a key for each lock: only the fencing token stays in Redis, and never expires. */
async function measureHeap(bed: Bed, options: SuiteOptions): Promise<void> {
  options.progress(`${PAIRS} locks one after the other`)
  await using locks = redisLocks({ url: bed.url, prefix: `${bed.prefix}heap:` })
  const run = async (count: number, name: string): Promise<void> => {
    let next = 0
    const slot = async (): Promise<void> => {
      for (let n = next++; n < count; n = next++) {
        const lease = await locks.acquire(`${name}-${n}`, { ttlMs: TTL_MS, waitMs: 0 })
        await lease.release()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, slot))
  }
  await run(PAIRS / 10, 'warm-up')
  const before = await heap()
  const redisBefore = await bed.stats.memoryBytes()
  await run(PAIRS, 'counted')
  const after = await heap()
  const redisBytes = (await bed.stats.memoryBytes()) - redisBefore
  const row = [
    `${PAIRS} locks, ${AT_ONCE} at once, acquired and released`,
    number(before / 1e6),
    number(after / 1e6),
    number((after - before) / PAIRS),
    number(process.memoryUsage.rss() / 1e6),
    number(redisBytes / PAIRS),
  ]
  options.report({ title: 'what stays', head: HEAP_HEAD, rows: [row] })
}

async function heap(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}
