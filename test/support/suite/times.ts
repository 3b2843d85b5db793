/**
 * `npm run test:times -- REPORT...`: writes the duration of each test file, from vitest's JSON reports, into the table
 * that `order.ts` reads. Files that the reports do not list keep their time; deleted files lose it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { readSeconds, type Seconds, TABLE } from './seconds.ts'

interface Report {
  readonly testResults: readonly { readonly name: string; readonly startTime: number; readonly endTime: number }[]
}

/** A shorter file fits in anywhere. */
const LEAST_SECONDS = 3

/**
 * The table with the reports' times. They may come from another checkout: only the part of a path that is in every one
 * counts.
 */
export function withTimes(before: Seconds, reports: readonly Report[]): Seconds {
  const seconds: Record<string, number> = { ...before }
  for (const { name, startTime, endTime } of reports.flatMap(({ testResults }) => testResults))
    seconds[inRepository(name)] = Math.round((endTime - startTime) / 1_000)
  return Object.fromEntries(
    Object.entries(seconds)
      .filter(([, each]) => each >= LEAST_SECONDS)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

/**
 * `/anywhere/test/a.test.ts` as `test/a.test.ts`. A checkout may itself be below a folder called `test`: the longest path that
 * is a file counts.
 */
function inRepository(path: string): string {
  const suffixes = [...path.matchAll(/(?<=^|\/)test\//g)].map(({ index }) => path.slice(index))
  return suffixes.find((each) => existsSync(each)) ?? suffixes.at(-1) ?? path
}

if (import.meta.main) {
  const reports = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report)
  const times = withTimes(readSeconds(), reports)
  const kept = Object.fromEntries(Object.entries(times).filter(([file]) => existsSync(file)))
  writeFileSync(fileURLToPath(TABLE), `${JSON.stringify(kept, undefined, 2)}\n`)
}
