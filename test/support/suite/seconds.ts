/** Measured durations of test files: `seconds.json`, written by `times.ts`. */
import { readFileSync } from 'node:fs'

/** Seconds by file, relative to the root of the repository. */
export type Seconds = Readonly<Record<string, number>>

export const TABLE: URL = new URL('seconds.json', import.meta.url)

export function readSeconds(): Seconds {
  return JSON.parse(readFileSync(TABLE, 'utf8')) as Seconds
}

/** Sorts files, the longest first. A file that is not in the table counts as the median of the listed ones. */
export function longestFirst(seconds: Seconds): (a: string, b: string) => number {
  const all = Object.values(seconds).sort((a, b) => a - b)
  const median = all[Math.floor(all.length / 2)] ?? 0
  const of = (file: string): number => seconds[file] ?? median
  return (a, b) => of(b) - of(a)
}
