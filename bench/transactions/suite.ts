import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import { median, takeTurns } from '../compare.ts'
import { ascending, quantile } from '../distribution.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PeerUnavailable } from '../peers.ts'
import { PostgresBed } from '../postgres-bed.ts'
import type { Burst, Ran } from '../serve.ts'
import { number, type Table } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import { seataSides } from './seata/sides.ts'
import { type Kind, ourSide, type Side, type Way } from './sides.ts'

const KINDS: readonly Kind[] = ['bare', 'saga', 'tcc', 'xa', 'undo', 'code']
const WAYS: readonly Way[] = ['direct', 'message']
/** Kinds whose database work is also measured without a coordinator: no coordinator can be faster. */
const BY_HAND: readonly Kind[] = ['tcc', 'xa']
const SEATA = 'seata'
/** Targets as shares of the rate of the two local transactions. */
const TARGETS: Readonly<Partial<Record<string, Target>>> = {
  'tcc, direct': { atLeast: 0.35 },
  'xa, direct': { atLeast: 0.5 },
  'undo, direct': { atLeast: 0.4 },
}
/** Our rate divided by that of Seata in the mode that does the same. */
const SEATA_TARGET: Target = { atLeast: 5 }
const BURSTS: readonly Burst[] = [
  { atOnce: 64, rampMs: 1_500, countedMs: 3_000, atLeast: 64 },
  { atOnce: 1, rampMs: 500, countedMs: 2_000, atLeast: 5 },
]
/** A transaction of XA is prepared in both databases. */
const PREPARED = '400'
const CONNECTIONS = '800'

interface Turn extends Ran {
  readonly serverCpuUs: number
}

/** Two branches on two databases of one server: each kind beside the local transactions alone. */
export async function transactionsSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedSides(options.only)
  try {
    await using postgres = await PostgresBed.open({ max_prepared_transactions: PREPARED, max_connections: CONNECTIONS })
    await using stack = new AsyncDisposableStack()
    const sides = await enter(wanted, { postgres, stack }, options)
    for (const burst of BURSTS) {
      options.progress(`two branches, ${burst.atOnce} at a time: ${sides.map(({ name }) => name).join(', ')}`)
      const run = (side: Side) => () => oneTurn(side, postgres, burst)
      const turns = await takeTurns(sides.map(run), { rounds: options.rounds, collect: false })
      options.report(tableOf(burst, sides, turns))
    }
  } catch (error) {
    if (!(error instanceof ServerUnavailable)) throw error
    options.skip(error.message)
  }
}

interface Wanted {
  readonly kinds: readonly Kind[]
  readonly ways: readonly Way[]
  readonly seata: boolean
}

/**
 * Sides by `--only tcc,direct`: by kind and by way; without a name, all. The bare side is always there. @throws
 * UnknownPart
 */
function wantedSides(only: readonly string[]): Wanted {
  const wanted = wantedParts(only, [...KINDS, SEATA, ...WAYS])
  const of = <T extends string>(all: readonly T[]): readonly T[] => {
    const named = only.length === 0 ? [] : all.filter(wanted)
    return named.length === 0 ? all : named
  }
  const who = of([...KINDS, SEATA])
  return {
    kinds: KINDS.filter((kind) => kind !== 'bare' && who.includes(kind)),
    ways: of(WAYS),
    seata: who.includes(SEATA),
  }
}

interface Bed {
  readonly postgres: PostgresBed
  readonly stack: AsyncDisposableStack
}

/** All requested sides; Seata is left out, with the reason, where it is not available. */
async function enter({ kinds, ways, seata }: Wanted, bed: Bed, options: SuiteOptions): Promise<readonly Side[]> {
  const { postgres, stack } = bed
  const sides = [await ourSide('bare', 'none', postgres, stack)]
  for (const kind of kinds) if (BY_HAND.includes(kind)) sides.push(await ourSide(kind, 'none', postgres, stack))
  for (const way of ways) for (const kind of kinds) sides.push(await ourSide(kind, way, postgres, stack))
  if (!seata) return sides
  try {
    return [...sides, ...(await seataSides({ ...bed, progress: options.progress }))]
  } catch (error) {
    if (!(error instanceof PeerUnavailable)) throw error
    options.skip(`Seata: ${error.message}`)
    return sides
  }
}

async function oneTurn(side: Side, postgres: PostgresBed, burst: Burst): Promise<Turn> {
  const before = postgres.cpuUs()
  const ran = await side.run(burst)
  return { ...ran, serverCpuUs: postgres.cpuUs() - before }
}

const HEAD = [
  'who',
  'transactions/s',
  'of bare',
  'p50 ms',
  'p95 ms',
  'CPU us of its processes',
  'of servers',
  'target',
] as const

function tableOf({ atOnce }: Burst, sides: readonly Side[], turns: readonly Turn[][]): Table {
  const rates = turns.map((side) => side.map(({ eachMs, countedMs }) => (eachMs.length / countedMs) * 1_000))
  const ratio = (n: number, of: number): number =>
    median((rates[n] ?? []).map((rate, round) => rate / (rates[of]?.[round] ?? Number.NaN)))
  const against = (n: number, rival: string): string => {
    const ours = sides.findIndex(({ name }) => name === rival)
    if (ours < 0) return '-'
    const times = ratio(ours, n)
    return `${rival} / it: ${times.toFixed(2)}${atOnce === 1 ? '' : `, ${verdict(times, SEATA_TARGET)}`}`
  }
  const rows = sides.map(({ name, rival }, n) => {
    const mine = turns[n] ?? []
    const sorted = ascending(mine.flatMap(({ eachMs }) => eachMs))
    const each = (of: (turn: Turn) => number): string => number(median(mine.map((turn) => of(turn) / turn.total)))
    return [
      name,
      number(median(rates[n] ?? [])),
      ratio(n, 0).toFixed(2),
      number(quantile(sorted, 0.5)),
      number(quantile(sorted, 0.95)),
      each(({ cpuUs }) => cpuUs),
      each(({ serverCpuUs }) => serverCpuUs),
      rival !== undefined ? against(n, rival) : atOnce === 1 ? '-' : verdict(ratio(n, 0), TARGETS[name]),
    ]
  })
  return {
    title: `transactions: two branches on two databases, ${atOnce} at a time`,
    head: HEAD,
    rows,
  }
}
