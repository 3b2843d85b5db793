/**
 * Which test files a run takes, by the measured time of each (`npm run test:times`) and by the guarantees that it holds.
 *
 * - `npm test`: every short file, and one file for each kind of server; about five minutes.
 * - `npm test` with `CONCORDAT_REQUIRE_SERVERS=1`, as in `.ci/run`: every file that is not long, on servers too, each adapter's
 *   conformance, and for each guarantee whose tests are all in long files the shortest of these.
 * - `CONCORDAT_NIGHT=1`, as in `npm run test:night`, or `vitest run` without a mode: every file.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { reachedBy } from './imports.ts'
import { isNight } from './night.ts'
import { usesPglite } from './projects.ts'
import { readSeconds, type Seconds } from './seconds.ts'

/** The mode in which `npm test` starts vitest. */
export const QUICK_MODE = 'quick'

/** A file that takes longer is not part of `npm test`. */
export const QUICK_SECONDS = 3

/** A file that takes longer is part of a merge only if it runs a conformance suite, or if a guarantee has no shorter test. */
export const MERGE_SECONDS = 3

/** Files that show that each available server works with its adapter. */
export const SMOKE: readonly string[] = [
  'test/outbox/order.int.test.ts',
  'test/locks/redis/driver.int.test.ts',
  'test/binder/rabbitmq/subscribe.int.test.ts',
  'test/binder/kafka/held.int.test.ts',
  'test/saga/mysql2/two-databases.int.test.ts',
]

/** Long files of every merge: the programs of the pages, which change with the code, and suites that no import shows. */
const ALWAYS: readonly string[] = ['test/house/snippets.int.test.ts', 'test/core/orms/orms.int.test.ts']

const CONFORMANCE = 'test/conformance/'

/**
 * Never chosen for a guarantee: tests of a release or of a Docker engine, and controls, which show that a conformance suite finds a wrong
 * store or transport.
 */
const LEFT_OUT = /(?:^|[/-])(?:negative-control|refusing|slow|late)(?:-\w+)?\.test\.ts$|\.(?:release|engine)\.test\.ts$/

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
  const candidates = new Map(
    globSync('test/**/*.test.ts')
      .filter((file) => !LEFT_OUT.test(file))
      .map((file) => [file, reachedBy(file)]),
  )
  const claims = readClaims().map((claim) => holdersOf(claim, candidates))
  const always = new Set([...ALWAYS, ...conformingOf(candidates)])
  const isShort = (file: string): boolean => always.has(file) || (seconds[file] ?? 0) <= MERGE_SECONDS
  const chosen = new Set<string>()
  const isChosen = (file: string): boolean => isShort(file) || chosen.has(file)
  const bySeconds = (a: string, b: string): number => (seconds[a] ?? 0) - (seconds[b] ?? 0)
  for (const holders of claims) {
    const [shortest] = holders.toSorted(bySeconds)
    if (shortest !== undefined && !holders.some(isChosen)) chosen.add(shortest)
  }
  // A file may hold nothing that the files chosen after it do not hold too.
  for (const file of [...chosen].toSorted(bySeconds).toReversed()) {
    chosen.delete(file)
    if (claims.some((holders) => holders.includes(file) && !holders.some(isChosen))) chosen.add(file)
  }
  return files.filter(isChosen)
}

/** Test files with all files that each reaches. */
type Candidates = ReadonlyMap<string, ReadonlySet<string>>

function holdersOf({ tests }: Claim, candidates: Candidates): readonly string[] {
  const named = new Set(tests.map(({ file }) => file))
  return [...candidates].filter(([, reached]) => meets(reached, named)).map(([file]) => file)
}

/**
 * Test files that run conformance suites, one for each adapter: a file on PGlite is left out where a file beside it runs the same
 * suites on PostgreSQL.
 */
function conformingOf(candidates: Candidates): readonly string[] {
  const suites = new Set(readClaims().flatMap(suitesOf))
  const conforming = [...candidates]
    .map(([file, reached]) => ({ file, runs: new Set([...reached].filter((each) => suites.has(each))) }))
    .filter(({ runs }) => runs.size > 0)
  const isOnServer = (file: string): boolean => file.endsWith('.int.test.ts')
  const isDoubled = ({ file, runs }: (typeof conforming)[number]): boolean =>
    usesPglite(file) &&
    conforming.some(
      (other) =>
        isOnServer(other.file) &&
        dirname(other.file) === dirname(file) &&
        [...runs].every((suite) => other.runs.has(suite)),
    )
  return conforming.filter((each) => isOnServer(each.file) || !isDoubled(each)).map(({ file }) => file)
}

/** Says whether a file that is reached is one of those that are named. */
export const meets = (reached: ReadonlySet<string>, named: ReadonlySet<string>): boolean =>
  [...reached].some((file) => named.has(file))

/** Conformance suites that hold a claim: it then holds for each adapter that runs them. */
function suitesOf({ tests }: Claim): readonly string[] {
  return tests.map(({ file }) => file).filter((file) => file.startsWith(CONFORMANCE))
}

/** A line of the table of guarantees: the tests of a claim, each in a test file or in a suite that test files import. */
interface Claim {
  readonly tests: readonly { readonly file: string }[]
}

/** Reads the table of guarantees. */
export function readClaims(): readonly Claim[] {
  return JSON.parse(readFileSync('test/house/guarantees.json', 'utf8')) as readonly Claim[]
}
