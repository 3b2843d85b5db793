import { number, type Table } from './table.ts'
import { type Target, verdict } from './target.ts'

/** Durations of the same thing, many times. */
export interface Distribution {
  readonly what: string
  readonly samplesMs: readonly number[]
  /** The quantile that is held against a target, e.g. 0.95; 1 is the longest of all. */
  readonly target?: { readonly quantile: number; readonly atMostMs: number } | undefined
}

/** The value that the share `q` of `sorted` (ascending) does not exceed. NaN without samples. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN
}

export function ascending(samples: readonly number[]): readonly number[] {
  return samples.toSorted((a, b) => a - b)
}

const HEAD = ['what', 'n', 'min ms', 'p50', 'p95', 'p99', 'max', 'over', 'target'] as const

/** Table with one row per distribution; `over` counts the samples above the target. */
export function distributionTable(title: string, distributions: readonly Distribution[]): Table {
  return { title, head: HEAD, rows: distributions.map(cells) }
}

function cells({ what, samplesMs, target }: Distribution): readonly string[] {
  const sorted = ascending(samplesMs)
  const marks = [0, 0.5, 0.95, 0.99, 1].map((q) => number(quantile(sorted, q)))
  const over = target === undefined ? '-' : String(sorted.filter((ms) => ms > target.atMostMs).length)
  return [what, String(sorted.length), ...marks, over, held(sorted, target)]
}

function held(sorted: readonly number[], target: Distribution['target']): string {
  if (target === undefined) return '-'
  const limit: Target = { atMost: target.atMostMs }
  const name = target.quantile === 1 ? 'max' : `p${target.quantile * 100}`
  return `${name} ${verdict(quantile(sorted, target.quantile), limit, ' ms')}`
}
