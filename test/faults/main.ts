/**
 * `npm run faults -- <suite> --seed N|FROM..TO [--seconds S] [--only FAULT,...] [--broken NAME] [--transport BROKER]
 * [--store STORE] [--kind KIND] [--keep]` (`--help` has the details): breaks real servers, real processes and the
 * network between them, and checks the invariants. `docs/contributing/how-we-test.md` explains its output.
 *
 * Exit codes: 0 every invariant held and every fault really happened; 1 not; 2 a mistake in the command line or an
 * unavailable server; 130 and 143 ended by SIGINT and SIGTERM.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { interruption } from '../support/interruption.ts'
import { KAFKA_DRIVER, KAFKA_DRIVERS } from '../support/kafka-driver-name.ts'
import { KEPT_LOGS, ServerUnavailable } from '../support/servers/index.ts'
import { type Given, help, parseCommand, usage } from './command-line.ts'
import { printStandstills, printTables, shortcomings } from './harness/report.ts'
import { type RunResult, runSuite } from './harness/run.ts'
import { type EpisodeReport, isPlayedOn, type Suite } from './harness/suite.ts'

const LANES = 2

/** Suites, each loaded on first use. */
const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  locks: async () => (await import('./locks/suite.ts')).locksSuite,
  election: async () => (await import('./election/suite.ts')).electionSuite,
  saga: async () => (await import('./saga/suite.ts')).sagaSuite,
  transactions: async () => (await import('./transactions/suite.ts')).transactionsSuite,
  binder: async () => (await import('./binder/suite.ts')).binderSuite,
  cluster: async () => (await import('./cluster/suite.ts')).clusterSuite,
  power: async () => (await import('./binder/power-suite.ts')).powerSuite,
  embedded: async () => (await import('./embedded/suite.ts')).embeddedSuite,
}

async function main(): Promise<number> {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    console.log(help(await Promise.all(Object.values(SUITES).map((load) => load()))))
    return 0
  }
  const given = await parseCommand(args, SUITES)
  if (typeof given === 'string') {
    console.error(`faults: ${given}. Usage: ${usage(Object.keys(SUITES))}`)
    return 2
  }
  const [seed = 1] = given.seeds
  const [first] = given.transports(seed)
  const lack = given.suite.lack(expectedFaults(given), first)
  if (lack !== undefined) {
    console.error(`faults: ${lack}`)
    return 2
  }
  const { signal, exitCode } = interruption(say)
  const failed: number[] = []
  const reports: EpisodeReport[] = []
  try {
    for (const seed of given.seeds) {
      for (const transport of given.transports(seed)) {
        const hasFailed = await playSeed(given, { seed, transport }, signal, reports)
        if (hasFailed && failed.at(-1) !== seed) failed.push(seed)
        if (signal.aborted) return exitCode()
      }
    }
  } catch (error) {
    if (signal.aborted) return exitCode()
    const reason = unreachable(error)
    if (reason === undefined) throw error
    console.error(`faults: ${reason}`)
    return 2
  }
  if (given.seeds.length > 1 || given.transports(seed).length > 1) {
    const [first, last] = [given.seeds[0], given.seeds.at(-1)]
    const which = first === last ? `seed ${first} on ${given.transports(seed).join(', ')}` : `seeds ${first} to ${last}`
    printStandstills(reports)
    console.log(`\n${which}: ${failed.length === 0 ? 'all passed' : `${failed.join(', ')} failed`}`)
  }
  return failed.length === 0 ? 0 : 1
}

/** A server that cannot be had, on one line; undefined for any other error. */
function unreachable(error: unknown): string | undefined {
  if (error instanceof ServerUnavailable) return error.message
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const isConnection = ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH'].includes(code)
  return isConnection ? `a server cannot be reached (${(error as Error).message}): see POSTGRES_URL` : undefined
}

interface Run {
  readonly seed: number
  readonly transport: string | undefined
}

/** @param reports gets those of this run @returns whether it failed */
async function playSeed(given: Given, run: Run, signal: AbortSignal, reports: EpisodeReport[]): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), `concordat-faults-${given.suite.name}-`))
  let keep = given.keep
  process.env[KEPT_LOGS] = join(folder, 'servers')
  try {
    const faults = expectedFaults(given, run.transport)
    foretell(given, run, faults)
    const lanes = Math.min(given.suite.lanes ?? LANES, faults.length)
    const result = await runSuite(given.suite, { ...given, ...run, faults, lanes, folder, signal, say })
    if (signal.aborted) return false
    reports.push(...result.reports)
    const failed = conclude(given, run, result, folder)
    keep ||= failed
    return failed
  } finally {
    if (!keep) rmSync(folder, { recursive: true, force: true })
  }
}

function foretell({ suite, broken }: Given, { seed, transport }: Run, faults: readonly string[]): void {
  const minutes = broken === undefined ? suite.minutes?.(faults, transport) : undefined
  if (minutes === undefined) return
  say(
    `${suite.name} on ${transport}, seed ${seed}: ${faults.length} faults, some ${Math.ceil(minutes)} minutes when nothing else runs`,
  )
}

/** Prints the report. @returns whether the run failed */
function conclude(given: Given, { seed, transport }: Run, result: RunResult, folder: string): boolean {
  const { suite } = given
  const on = transport === undefined ? '' : ` on ${transport}${transport === 'kafka' ? libraryOf() : ''}`
  console.log(`\n${suite.name}${on}, seed ${seed}, ${(result.tookMs / 1_000).toFixed(0)} s\n`)
  printTables(suite, result.reports)
  const violated = result.reports.flatMap((report) =>
    report.verdicts.filter(({ holds }) => !holds).map((verdict) => ({ ...verdict, report })),
  )
  const wasCutShort = violated.length > 0 || result.troubles.length > 0
  const lacking = wasCutShort ? [] : shortcomings(suite, expectedFaults(given, transport), result.reports)
  if (!wasCutShort && lacking.length === 0) {
    if (given.broken !== undefined) console.log(`\nthe mistake "${given.broken}" was built in, and did not show`)
    console.log(`\nseed ${seed}: every invariant held, every fault happened`)
    return false
  }
  for (const { invariant, evidence, report } of violated) {
    console.log(`\nviolated: ${invariant} (${suite.invariants[invariant]})`)
    console.log(`under the fault: ${report.fault}`)
    for (const line of evidence) console.log(`  ${line}`)
    console.log(`what was done:\n${report.timeline.map((line) => `  ${line}`).join('\n')}`)
    console.log(`history: ${report.history}`)
  }
  for (const line of [...result.troubles, ...lacking]) console.log(`\nfailed: ${line}`)
  console.log(
    `\nseed ${seed} failed; histories and the servers' logs are kept in ${folder}\nreplay: ${given.command(seed, transport)}`,
  )
  return true
}

/** Named where it is not the first one. */
function libraryOf(): string {
  return KAFKA_DRIVER === KAFKA_DRIVERS[0] ? '' : ` (${KAFKA_DRIVER})`
}

/** Faults that the run has to show. @param transport `undefined`: any, or all of them */
function expectedFaults({ suite, only, broken }: Given, transport?: string): readonly string[] {
  if (only.length > 0)
    return suite.faults
      .filter((fault) => only.includes(fault.name) && isPlayedOn(fault, transport))
      .map(({ name }) => name)
  const mistake = broken === undefined ? undefined : suite.mistakes[broken]
  const played = suite.faults.filter((fault) => isPlayedOn(fault, transport))
  const names = played.map(({ name }) => name)
  return mistake === undefined ? names : mistake.faults.filter((fault) => names.includes(fault))
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

// An interrupted call may reject when it is no longer awaited; the episode has logged why.
process.on('unhandledRejection', (error) => say(`faults: left behind: ${String(error)}`))
process.exitCode = await main()
// Handles that a worker or a server left open must not keep the process alive.
process.exit()
