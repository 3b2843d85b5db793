import { number, type Table } from './table.ts'
import { type Target, verdict } from './target.ts'

/** One side of a comparison: does the work once, and returns how many units it did and how long that took. */
export type Run = () => Promise<Measured>

export interface Measured {
  readonly units: number
  readonly ms: number
}

export interface Comparison {
  /** Name of the measurement, with its unit: `publish 200 B, messages/s`. */
  readonly what: string
  readonly ours: Run
  /** Peer that does the same work without this package. Absent where there is none. */
  readonly peer?: { readonly name: string; readonly run: Run } | undefined
  /** Target for our rate in units per second. */
  readonly target?: Target | undefined
  /** Target for our rate divided by the peer's. */
  readonly ratio?: Target | undefined
}

export interface Result {
  readonly what: string
  /** Units per second, the median of the rounds. */
  readonly ours: number
  readonly peerName: string | undefined
  readonly peer: number | undefined
  readonly target: Target | undefined
  readonly ratio: Target | undefined
}

export interface TurnOptions {
  readonly rounds: number
  /** Warm-up rounds before those that count. @default 1 */
  readonly warmUps?: number | undefined
  /**
   * Collect garbage before each turn. Not for short turns: V8 also drops compiled code, and the turn would be spent
   * compiling. @default true
   */
  readonly collect?: boolean | undefined
}

/**
 * Runs all sides in turns, so that other load of the machine hits all of them; each round begins with the next side.
 * @returns per side, the result of each round
 */
export async function takeTurns<T>(
  sides: readonly (() => Promise<T>)[],
  { rounds, warmUps = 1, collect = true }: TurnOptions,
): Promise<readonly T[][]> {
  const outcomes = sides.map((): T[] => [])
  for (let round = -warmUps; round < rounds; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const side = (round + warmUps + turn) % sides.length
      if (collect) globalThis.gc?.()
      const outcome = await sides[side]?.()
      if (round >= 0 && outcome !== undefined) outcomes[side]?.push(outcome)
    }
  }
  return outcomes
}

export async function compare({ what, ours, peer, target, ratio }: Comparison, rounds: number): Promise<Result> {
  const outcomes = await takeTurns(peer === undefined ? [ours] : [ours, peer.run], { rounds })
  const [mine = [], theirs = []] = outcomes.map((side) => side.map(rate))
  return {
    what,
    ours: median(mine),
    peerName: peer?.name,
    peer: peer === undefined ? undefined : median(theirs),
    target,
    ratio,
  }
}

/** Units per second. */
export function rate({ units, ms }: Measured): number {
  return (units / ms) * 1_000
}

const HEAD = ['what', 'concordat', 'peer', 'ratio', 'the peer is', 'target'] as const

export function comparisonTable(title: string, results: readonly Result[]): Table {
  const rows = results.map(({ what, ours, peer, peerName, target, ratio }) => [
    what,
    number(ours),
    peer === undefined ? '-' : number(peer),
    peer === undefined ? '-' : (ours / peer).toFixed(2),
    peerName ?? '-',
    ratio === undefined ? verdict(ours, target) : verdict(ours / (peer ?? Number.NaN), ratio),
  ])
  return { title, head: HEAD, rows }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Times `work`, which does `units` of something. */
export async function timed(units: number, work: () => Promise<unknown>): Promise<Measured> {
  const startedAt = performance.now()
  await work()
  return { units, ms: performance.now() - startedAt }
}
