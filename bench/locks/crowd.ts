/** Many waiters on one key from several processes: no herd means that a hand-off costs the same however many wait. */
import { setTimeout as sleep } from 'node:timers/promises'
import { redisLocks } from 'concordat/redis'
import type { Bed } from '../bed.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { sharedNow, Worker } from '../processes.ts'
import { trafficBetween } from '../redis-stats.ts'
import { number } from '../table.ts'
import type { CrowdReport } from './crowd-worker.ts'
import { concordat, redisSemaphore, redlock, type WaiterKind } from './waiters.ts'

const PROCESSES = 4
/** Heartbeat interval for rows in which no heartbeat may happen. */
const NEVER_MS = 600_000
const DEFAULT_HEARTBEAT_MS = 1_000

interface Case {
  readonly kind: WaiterKind
  readonly waiters: number
  readonly heartbeatMs: number
  readonly what: string
}

const CASES: readonly Case[] = [
  ...[100, 300, 1_000].map((waiters) => ({
    kind: concordat,
    waiters,
    heartbeatMs: NEVER_MS,
    what: 'concordat, without heartbeats',
  })),
  { kind: concordat, waiters: 1_000, heartbeatMs: DEFAULT_HEARTBEAT_MS, what: 'concordat, heartbeat 1 s' },
  { kind: redlock, waiters: 1_000, heartbeatMs: 0, what: 'redlock' },
  { kind: redisSemaphore, waiters: 1_000, heartbeatMs: 0, what: 'redis-semaphore' },
]

const HEAD = [
  'who',
  'waiters',
  'until all had it, s',
  'between grants p50 ms',
  'p99',
  'max',
  'requests/hand-off',
  'commands in scripts',
  'Redis CPU us/hand-off',
] as const

export async function measureCrowd(bed: Bed, options: SuiteOptions): Promise<void> {
  const rows: string[][] = []
  for (const crowd of CASES) {
    options.progress(`one key, ${crowd.waiters} waiters in ${PROCESSES} processes: ${crowd.what}`)
    rows.push(await oneCrowd(bed, crowd))
  }
  options.report({ title: `one key, many waiters in ${PROCESSES} processes, one turn each`, head: HEAD, rows })
}

async function oneCrowd(bed: Bed, { kind, waiters, heartbeatMs, what }: Case): Promise<string[]> {
  const key = `crowd-${what}-${waiters}`
  await using stack = new AsyncDisposableStack()
  const holder = kind.make(bed.url, bed.prefix, DEFAULT_HEARTBEAT_MS)
  stack.defer(() => holder.close())
  const release = await holder.take(key)
  const args = [bed.url, bed.prefix, kind.name, key, String(waiters / PROCESSES), String(heartbeatMs)]
  const file = new URL('./crowd-worker.ts', import.meta.url)
  const workers = Array.from({ length: PROCESSES }, () => stack.use(new Worker<CrowdReport>(file, args)))
  await Promise.all(workers.map((worker) => worker.report('ready')))
  const done = workers.map((worker) => worker.report('done'))
  for (const worker of workers) worker.tell({})
  await Promise.race([lined(bed, kind, key, waiters), Promise.all(done)])
  const before = await bed.stats.commands()
  const cpuBefore = await bed.stats.cpuUs()
  const startedAt = sharedNow()
  await release()
  const grantedAt = ascending((await Promise.all(done)).flatMap((report) => report.grantedAt ?? []))
  const cpuUs = (await bed.stats.cpuUs()) - cpuBefore
  const traffic = trafficBetween(before, await bed.stats.commands(), kind.direct)
  const gaps = ascending(grantedAt.map((at, i) => at - (grantedAt[i - 1] ?? startedAt)))
  return [
    what,
    String(grantedAt.length),
    number(((grantedAt.at(-1) ?? Number.NaN) - startedAt) / 1_000),
    ...[0.5, 0.99, 1].map((q) => number(quantile(gaps, q))),
    ...[traffic.requests, traffic.inScripts, cpuUs].map((total) => number(total / waiters)),
  ]
}

/** Waits until all waiters are queued. Peers that only poll have no queue: they get two seconds to begin. */
async function lined(bed: Bed, kind: WaiterKind, key: string, waiters: number): Promise<void> {
  if (kind !== concordat) return sleep(2_000)
  await using locks = redisLocks({ url: bed.url, prefix: `${bed.prefix}ours:` })
  for (;;) {
    const info = await locks.inspect(key)
    if (info?.waiters?.length === waiters) return
    await sleep(20)
  }
}
