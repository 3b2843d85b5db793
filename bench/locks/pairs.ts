/** Acquire and release, over and over: rates, latencies and the CPU time of a pair, all sides in turns. */

import { median, takeTurns } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { number } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import type { Side, SideMaker } from './sides.ts'

/** A side to compare with, and the share of its rate that ours should reach at this number of pairs in flight. */
export interface Rival {
  readonly make: SideMaker
  readonly target?: ((atOnce: number) => Target) | undefined
}

export interface PairsCase {
  readonly title: string
  readonly ours: SideMaker
  readonly rivals: readonly Rival[]
  readonly atOnce: readonly number[]
  /** CPU time of other servers, in place of the bed's. */
  readonly cpuUs?: (() => Promise<number>) | undefined
  /** The key of slot `n`. @default one for each slot, so there is no contention */
  readonly key?: ((slot: number) => string) | undefined
}

/** Short, so that within a round other load of the machine hits all sides alike. */
const SLICE_MS = 100
const SLICES = 6
/** Rounds run first, until the code of all sides is compiled. */
const WARM_UPS = 8

interface Slice {
  readonly pairs: number
  readonly ms: number
  readonly latenciesMs: readonly number[]
  readonly clientUs: number
  readonly serverUs: number
}

const HEAD = [
  'at once',
  'who',
  'pairs/s',
  'ours / theirs',
  'p50 ms',
  'p99 ms',
  'CPU us',
  'of the server',
  'target',
] as const

/** Server of a case, and its counters. */
export interface PairsBed {
  readonly url: string
  readonly prefix: string
  readonly stats: { cpuUs(): number | Promise<number> }
}

export async function measurePairs(bed: PairsBed, pairs: PairsCase, options: SuiteOptions): Promise<void> {
  const makers = [pairs.ours, ...pairs.rivals.map(({ make }) => make)]
  const sides = await Promise.all(makers.map((make) => make(bed.url, bed.prefix)))
  const cpuUs = pairs.cpuUs ?? (async () => bed.stats.cpuUs())
  const rows: string[][] = []
  try {
    for (const atOnce of pairs.atOnce) {
      options.progress(`${pairs.title}: ${atOnce} at once`)
      const key = pairs.key ?? ((slot: number) => `slot-${slot}`)
      const runs = sides.map((side) => () => slice(side, atOnce, key, cpuUs))
      const slices = await takeTurns(runs, { rounds: options.rounds * SLICES, warmUps: WARM_UPS, collect: false })
      rows.push(...sides.map((side, i) => row(atOnce, side, slices[i] ?? [], slices[0] ?? [], pairs.rivals[i - 1])))
    }
  } finally {
    await Promise.all(sides.map((side) => side.close()))
  }
  options.report({ title: pairs.title, head: HEAD, rows })
}

async function slice(
  side: Side,
  atOnce: number,
  key: (slot: number) => string,
  cpuUs: () => Promise<number>,
): Promise<Slice> {
  const latenciesMs: number[] = []
  const serverBefore = await cpuUs()
  const clientBefore = process.cpuUsage()
  const startedAt = performance.now()
  const loop = async (slot: number): Promise<void> => {
    const mine = key(slot)
    for (let now = performance.now(); now - startedAt < SLICE_MS; ) {
      await side.pair(mine)
      const then = now
      now = performance.now()
      latenciesMs.push(now - then)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, (_, slot) => loop(slot)))
  const ms = performance.now() - startedAt
  const { user, system } = process.cpuUsage(clientBefore)
  const serverUs = (await cpuUs()) - serverBefore
  return { pairs: latenciesMs.length, ms, latenciesMs, clientUs: user + system, serverUs }
}

function row(
  atOnce: number,
  side: Side,
  slices: readonly Slice[],
  ours: readonly Slice[],
  rival: Rival | undefined,
): string[] {
  const sorted = ascending(slices.flatMap((each) => each.latenciesMs))
  const perPair = (us: (each: Slice) => number): string => number(sum(slices, us) / sum(slices, (each) => each.pairs))
  // Slices of one turn ran next to each other: their ratio says more than that of two medians.
  const ratio = rival === undefined ? Number.NaN : median(slices.map((each, i) => rateOf(ours[i]) / rateOf(each)))
  return [
    String(atOnce),
    side.name,
    number(median(slices.map(rateOf))),
    number(ratio),
    number(quantile(sorted, 0.5)),
    number(quantile(sorted, 0.99)),
    perPair((each) => each.clientUs),
    perPair((each) => each.serverUs),
    verdict(ratio, rival?.target?.(atOnce)),
  ]
}

function rateOf(each: Slice | undefined): number {
  return each === undefined ? Number.NaN : (each.pairs / each.ms) * 1_000
}

function sum(slices: readonly Slice[], of: (each: Slice) => number): number {
  return slices.reduce((total, each) => total + of(each), 0)
}
