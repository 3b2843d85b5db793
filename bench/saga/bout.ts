/** Our sagas beside those of the engines that make functions durable: 256 at a time and one at a time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { median, takeTurns } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { PeerUnavailable } from '../peers.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import type { Burst, Ran } from '../serve.ts'
import { number, type Table } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import type { Bed, Side } from './sides.ts'

/** Sides of a comparison, and the names of its rows. */
export interface Bout {
  readonly what: string
  readonly ours: (bed: Bed) => Promise<Side>
  readonly rivals: readonly Rival[]
  /** Upper limit for our median when one saga runs at a time, besides that of each rival. */
  readonly oneAtMostMs?: number
}

export interface Rival {
  readonly make: (bed: Bed) => Promise<Side>
  readonly what: string
  /** Target for our rate divided by the rival's. */
  readonly target: Target
}

const MANY: Burst = { atOnce: 256, rampMs: 1_500, countedMs: 3_000, atLeast: 256 }
const ONE: Burst = { atOnce: 1, rampMs: 300, countedMs: 2_000, atLeast: 5 }
/** Time until each connection of PostgreSQL has flushed its statistics. */
const COUNTED_AFTER_MS = 1_200

/** Result of one turn; the last three are per saga, NaN where they are not counted. */
export interface Turn extends Ran {
  readonly serverCpuUs: number
  readonly commits: number
  readonly rows: number
  readonly walBytes: number
}

interface Entrant {
  readonly side: Side
  readonly target: Target | undefined
}

export async function measureBout(bout: Bout, postgres: PostgresBed, options: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const bed = { postgres, stack, progress: options.progress }
  const entrants = await enter(bout, bed, options)
  for (const burst of [MANY, ONE]) {
    options.progress(`${bout.what}, ${burst.atOnce} at a time: ${entrants.map(({ side }) => side.name).join(', ')}`)
    const turns = await takeTurns(
      entrants.map(
        ({ side }) =>
          () =>
            oneTurn(side, burst),
      ),
      { rounds: options.rounds, collect: false },
    )
    const names = entrants.map(({ side }) => side.name)
    options.report(burst === MANY ? manyTable(bout, entrants, turns) : oneTable(bout, names, turns))
  }
}

/** Opens the sides that are available here, and reports the reason for each that is not. */
async function enter({ ours, rivals }: Bout, bed: Bed, options: SuiteOptions): Promise<readonly Entrant[]> {
  const entrants: Entrant[] = [{ side: await ours(bed), target: undefined }]
  for (const { make, what, target } of rivals) {
    try {
      entrants.push({ side: await make(bed), target })
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error
      options.skip(`${what}: ${error.message}`)
    }
  }
  return entrants
}

async function oneTurn(side: Side, burst: Burst): Promise<Turn> {
  const before = await side.counters?.()
  const cpuBefore = side.serverCpuUs()
  const ran = await side.run(burst)
  const serverCpuUs = side.serverCpuUs() - cpuBefore
  if (side.counters !== undefined) await sleep(COUNTED_AFTER_MS)
  const after = await side.counters?.()
  const perSaga = (of: 'commits' | 'rows' | 'walBytes'): number =>
    ((after?.[of] ?? Number.NaN) - (before?.[of] ?? Number.NaN)) / ran.total
  return { ...ran, serverCpuUs, commits: perSaga('commits'), rows: perSaga('rows'), walBytes: perSaga('walBytes') }
}

const MANY_HEAD = [
  'who',
  'sagas/s',
  'ours / theirs',
  'p50 ms',
  'p95 ms',
  'CPU us of its processes',
  'of its server',
  'commits',
  'rows written',
  'WAL bytes',
  'target',
] as const

function manyTable({ what }: Bout, entrants: readonly Entrant[], turns: readonly Turn[][]): Table {
  const [ours = []] = turns.map((side) => side.map(rateOf))
  const rows = entrants.map(({ side, target }, n) => {
    const mine = turns[n] ?? []
    const ratio = median(mine.map((turn, round) => (ours[round] ?? Number.NaN) / rateOf(turn)))
    return [
      side.name,
      number(median(mine.map(rateOf))),
      n === 0 ? '-' : ratio.toFixed(2),
      ...quantiles(mine),
      ...perSaga(mine),
      target === undefined ? '-' : verdict(ratio, target),
    ]
  })
  return { title: `saga: ${what}, ${MANY.atOnce} at a time`, head: MANY_HEAD, rows }
}

const ONE_HEAD = ['who', 'sagas', 'p50 ms', 'p95 ms', ...MANY_HEAD.slice(5)] as const

/** Our row has our median and the bout's limit, the row of each rival its own. */
export function oneTable(
  { what, oneAtMostMs }: Pick<Bout, 'what' | 'oneAtMostMs'>,
  names: readonly string[],
  turns: readonly (readonly Turn[])[],
): Table {
  const each = turns.map((side) => ascending(side.flatMap(({ eachMs }) => eachMs)))
  const medians = each.map((sorted) => quantile(sorted, 0.5))
  const [ours = Number.NaN] = medians
  const rows = names.map((name, n) => {
    const mine = turns[n] ?? []
    const atMost = n === 0 ? oneAtMostMs : medians[n]
    const held = atMost === undefined ? '-' : `our p50 ${verdict(ours, { atMost }, ' ms')}`
    return [name, String(each[n]?.length ?? 0), ...quantiles(mine), ...perSaga(mine), held]
  })
  return { title: `saga: ${what}, one at a time`, head: ONE_HEAD, rows }
}

function rateOf({ eachMs, countedMs }: Ran): number {
  return (eachMs.length / countedMs) * 1_000
}

function quantiles(turns: readonly Turn[]): readonly string[] {
  const sorted = ascending(turns.flatMap(({ eachMs }) => eachMs))
  return [0.5, 0.95].map((q) => number(quantile(sorted, q)))
}

function perSaga(turns: readonly Turn[]): readonly string[] {
  const each = (of: (turn: Turn) => number): string => number(median(turns.map(of)))
  return [
    each(({ cpuUs, total }) => cpuUs / total),
    each(({ serverCpuUs, total }) => serverCpuUs / total),
    each(({ commits }) => commits),
    each(({ rows }) => rows),
    each(({ walBytes }) => walBytes),
  ]
}
