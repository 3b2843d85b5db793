import type { EpisodeReport } from './suite.ts'

/**
 * Table with a row for each fault and each part that it interrupted: how often, and the minimum, median and maximum
 * time.
 */
export function standstillRows(reports: readonly Pick<EpisodeReport, 'fault' | 'standstillsMs'>[]): string[][] {
  const times = new Map<string, number[]>()
  for (const { fault, standstillsMs } of reports) {
    for (const [part, ms] of Object.entries(standstillsMs ?? {})) {
      const name = JSON.stringify([fault, part])
      times.set(name, [...(times.get(name) ?? []), ms])
    }
  }
  return [...times].map(([name, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    const of = (share: number): string => (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(0)
    const [fault = '', part = ''] = JSON.parse(name) as string[]
    return [fault, part, String(sorted.length), of(0), of(0.5), of(1)]
  })
}

export const STANDSTILL_HEADS = ['fault', 'part', 'times', 'least ms', 'median ms', 'most ms']
