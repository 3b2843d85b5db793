/** One side of a comparison: does the work once and tells how many units it did and how long that took. */
export type Run = () => Promise<Measured>

export interface Measured {
  readonly units: number
  readonly ms: number
}

export interface Comparison {
  /** What is measured, with its unit: `publish 200 B, messages/s`. */
  readonly what: string
  readonly ours: Run
  /** Who does the same work without this package, and how. Absent where there is nobody. */
  readonly peer?: { readonly name: string; readonly run: Run } | undefined
}

export interface Result {
  readonly what: string
  /** Units per second, the median of the rounds. */
  readonly ours: number
  readonly peerName: string | undefined
  readonly peer: number | undefined
}

/**
 * Runs both sides `rounds` times, taking turns so that whatever else the machine does hits both, after a round that warms
 * up and is not counted.
 */
export async function compare(comparison: Comparison, rounds: number): Promise<Result> {
  const { what, ours, peer } = comparison
  const rates = { ours: [] as number[], peer: [] as number[] }
  for (let round = 0; round <= rounds; round++) {
    const mine = await rate(ours)
    const theirs = peer === undefined ? undefined : await rate(peer.run)
    if (round === 0) continue
    rates.ours.push(mine)
    if (theirs !== undefined) rates.peer.push(theirs)
  }
  return {
    what,
    ours: median(rates.ours),
    peerName: peer?.name,
    peer: peer === undefined ? undefined : median(rates.peer),
  }
}

async function rate(run: Run): Promise<number> {
  globalThis.gc?.()
  const { units, ms } = await run()
  return (units / ms) * 1_000
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
