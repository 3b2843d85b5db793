/** Measures hand-overs of a contended lock: idle time, turns for each waiter, commands at Redis. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bed } from '../bed.ts'
import { takeTurns } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { type Traffic, trafficBetween } from '../redis-stats.ts'
import { number } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import { bareLine, concordat, redisSemaphore, redlock, type Waiter, type WaiterKind } from './waiters.ts'

const WAITERS = 16
const ROUND_MS = 1_500
const TARGET: Target = { atMost: 0.9 }

interface Case {
  readonly title: string
  /** Time for which each holder keeps the lock. */
  readonly sectionMs: number
  readonly target?: Target | undefined
}

const CASES: readonly Case[] = [
  { title: `hand-off among ${WAITERS} waiters that hold the lock for 5 ms each`, sectionMs: 5, target: TARGET },
  { title: `one key, ${WAITERS} at once, nothing to do under the lock`, sectionMs: 0 },
]

interface Round {
  /** Time from the call of `release` to the next grant. */
  readonly gapsMs: readonly number[]
  readonly turns: readonly number[]
  readonly ms: number
  readonly traffic: Traffic
}

const HEAD = [
  'who',
  'turns/s',
  'idle p50 ms',
  'p95',
  'p99',
  'max',
  'turns of each',
  'requests/turn',
  'commands in scripts',
  'target',
] as const

export async function measureHandOff(bed: Bed, options: SuiteOptions): Promise<void> {
  for (const { title, sectionMs, target } of CASES) {
    options.progress(title)
    const kinds = [concordat, bareLine, redlock, redisSemaphore]
    const crews = kinds.map(({ make }) => Array.from({ length: WAITERS }, () => make(bed.url, bed.prefix)))
    try {
      const runs = kinds.map((kind, i) => () => round(bed, kind, crews[i] ?? [], sectionMs))
      const rounds = await takeTurns(runs, { rounds: options.rounds })
      const rows = kinds.map((kind, i) => row(kind, rounds[i] ?? [], i === 0 ? target : undefined))
      options.report({ title, head: HEAD, rows })
    } finally {
      await Promise.all(crews.flat().map((waiter) => waiter.close()))
    }
  }
}

async function round(bed: Bed, kind: WaiterKind, crew: readonly Waiter[], sectionMs: number): Promise<Round> {
  const gapsMs: number[] = []
  let releasedAt = Number.NaN
  const before = await bed.stats.commands()
  const startedAt = performance.now()
  const turns = await Promise.all(
    crew.map(async (waiter) => {
      let mine = 0
      while (performance.now() - startedAt < ROUND_MS) {
        const release = await waiter.take('one')
        const gap = performance.now() - releasedAt
        if (!Number.isNaN(gap)) gapsMs.push(gap)
        mine++
        if (sectionMs > 0) await sleep(sectionMs)
        releasedAt = performance.now()
        await release()
      }
      return mine
    }),
  )
  const ms = performance.now() - startedAt
  return { gapsMs, turns, ms, traffic: trafficBetween(before, await bed.stats.commands(), kind.direct) }
}

function row(kind: WaiterKind, rounds: readonly Round[], target: Target | undefined): string[] {
  const sorted = ascending(rounds.flatMap(({ gapsMs }) => gapsMs))
  const each = Array.from({ length: WAITERS }, (_, i) => rounds.reduce((sum, { turns }) => sum + (turns[i] ?? 0), 0))
  const total = each.reduce((sum, turns) => sum + turns, 0)
  const perTurn = (of: (round: Round) => number): string =>
    number(rounds.reduce((sum, round) => sum + of(round), 0) / total)
  const p95 = quantile(sorted, 0.95)
  return [
    kind.name,
    number((total / rounds.reduce((sum, { ms }) => sum + ms, 0)) * 1_000),
    ...[0.5, 0.95, 0.99, 1].map((q) => number(quantile(sorted, q))),
    `${Math.min(...each)} to ${Math.max(...each)}`,
    perTurn(({ traffic }) => traffic.requests),
    perTurn(({ traffic }) => traffic.inScripts),
    target === undefined ? '-' : `p95 ${verdict(p95, target, ' ms')}`,
  ]
}
