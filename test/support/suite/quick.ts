/**
 * Which test files a run takes, by the measured time of each (`npm run test:times`) and by the guarantees that it holds.
 *
 * - `npm test`: every short file, and one file for each kind of server; about five minutes.
 * - `npm test` with `CONCORDAT_REQUIRE_SERVERS=1`, as in `.ci/run`: every file that is not long, on servers too, and every
 *   file that holds the test of a guarantee.
 * - `CONCORDAT_NIGHT=1`, as in `npm run test:night`, or `vitest run` without a mode: every file.
 */
import { readFileSync } from 'node:fs'
import { importing } from './imports.ts'
import { isNight } from './night.ts'
import { readSeconds, type Seconds } from './seconds.ts'

/** The mode in which `npm test` starts vitest. */
export const QUICK_MODE = 'quick'

/** A file that takes longer is not part of `npm test`. */
export const QUICK_SECONDS = 3

/** A file that takes longer is part of a merge only if it holds the test of a guarantee. */
export const MERGE_SECONDS = 15

/** Files that show that each available server works with its adapter. */
export const SMOKE: readonly string[] = [
  'test/outbox/order.int.test.ts',
  'test/locks/redis/driver.int.test.ts',
  'test/binder/rabbitmq/subscribe.int.test.ts',
  'test/binder/kafka/held.int.test.ts',
  'test/saga/mysql2/two-databases.int.test.ts',
]

/** Long files of every merge that hold no guarantee: the programs of the pages, which change with the code. */
const ALWAYS: readonly string[] = ['test/house/snippets.int.test.ts']

/** Shows that a conformance suite finds a wrong store or transport: a control of the tests, which holds no guarantee itself. */
const CONTROL = /(?:^|[/-])(?:negative-control|refusing|slow|late)(?:-\w+)?\.test\.ts$/

type Choice = (files: readonly string[]) => readonly string[]

/** Files of a run of `npm test` in this environment. */
export function chosenFiles(mode: string): Choice {
  if (mode !== QUICK_MODE || isNight) return (files) => files
  return process.env['CONCORDAT_REQUIRE_SERVERS'] === '1' ? mergeOf : quickOf
}

/** @param files paths from the root of the repository */
export function quickOf(files: readonly string[], seconds: Seconds = readSeconds()): readonly string[] {
  return files.filter((file) =>
    file.endsWith('.int.test.ts') ? SMOKE.includes(file) : (seconds[file] ?? 0) <= QUICK_SECONDS,
  )
}

/** @param files paths from the root of the repository */
export function mergeOf(files: readonly string[], seconds: Seconds = readSeconds()): readonly string[] {
  const imports = importing((file) => guaranteed().has(file))
  const holdsGuarantee = (file: string): boolean => !CONTROL.test(file) && imports(file)
  return files.filter((file) => (seconds[file] ?? 0) <= MERGE_SECONDS || ALWAYS.includes(file) || holdsGuarantee(file))
}

/** Test files and suites that the table of guarantees names. */
function guaranteed(): ReadonlySet<string> {
  known ??= new Set(
    (JSON.parse(readFileSync('test/house/guarantees.json', 'utf8')) as readonly Claim[]).flatMap(({ tests }) =>
      tests.map(({ file }) => file),
    ),
  )
  return known
}

let known: ReadonlySet<string> | undefined

interface Claim {
  readonly tests: readonly { readonly file: string }[]
}
