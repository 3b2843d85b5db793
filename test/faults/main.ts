/**
 * `npm run faults -- <suite> --seed N|FROM..TO [--seconds S] [--only FAULT,...] [--broken NAME] [--transport BROKER] [--store STORE] [--kind KIND] [--keep]`
 * (`--help` tells more): breaks real servers, real processes and the network between them, and checks what must hold all the same. `docs/faults.md` tells how to read
 * what it prints.
 *
 * Exit codes: 0 every invariant held and every fault really happened; 1 not; 2 a mistake in the command line or a server
 * that cannot be had; 130 and 143 ended by SIGINT and SIGTERM.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerUnavailable } from '../support/servers/index.ts'
import { type Given, help, parseCommand, usage } from './command-line.ts'
import { printStandstills, printTables, shortcomings } from './harness/report.ts'
import { type RunResult, runSuite } from './harness/run.ts'
import { type EpisodeReport, isPlayedOn, type Suite } from './harness/suite.ts'

const LANES = 2

/** A suite is loaded when it is asked for. */
const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  locks: async () => (await import('./locks/suite.ts')).locksSuite,
  election: async () => (await import('./election/suite.ts')).electionSuite,
  saga: async () => (await import('./saga/suite.ts')).sagaSuite,
  transactions: async () => (await import('./transactions/suite.ts')).transactionsSuite,
  binder: async () => (await import('./binder/suite.ts')).binderSuite,
  cluster: async () => (await import('./cluster/suite.ts')).clusterSuite,
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
  const lack = given.suite.lack(expectedFaults(given), given.transport(seed))
  if (lack !== undefined) {
    console.error(`faults: ${lack}`)
    return 2
  }
  const { signal, exitCode } = interruption()
  const failed: number[] = []
  const reports: EpisodeReport[] = []
  try {
    for (const seed of given.seeds) {
      if (await playSeed(given, seed, signal, reports)) failed.push(seed)
      if (signal.aborted) return exitCode()
    }
  } catch (error) {
    if (signal.aborted) return exitCode()
    const reason = unreachable(error)
    if (reason === undefined) throw error
    console.error(`faults: ${reason}`)
    return 2
  }
  if (given.seeds.length > 1) {
    const [first, last] = [given.seeds[0], given.seeds.at(-1)]
    printStandstills(reports)
    console.log(`\nseeds ${first} to ${last}: ${failed.length === 0 ? 'all passed' : `${failed.join(', ')} failed`}`)
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

/** @param reports gets those of this seed @returns whether it failed */
async function playSeed(given: Given, seed: number, signal: AbortSignal, reports: EpisodeReport[]): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), `concordat-faults-${given.suite.name}-`))
  let keep = given.keep
  try {
    const transport = given.transport(seed)
    const faults = expectedFaults(given, transport)
    const lanes = Math.min(given.suite.lanes ?? LANES, faults.length)
    const result = await runSuite(given.suite, { ...given, seed, transport, faults, lanes, folder, signal, say })
    if (signal.aborted) return false
    reports.push(...result.reports)
    const failed = conclude(given, seed, result, folder)
    keep ||= failed
    return failed
  } finally {
    if (!keep) rmSync(folder, { recursive: true, force: true })
  }
}

/** Prints what there is to say. @returns whether the run failed */
function conclude(given: Given, seed: number, result: RunResult, folder: string): boolean {
  const { suite } = given
  const transport = given.transport(seed)
  const on = transport === undefined ? '' : ` on ${transport}`
  console.log(`\n${suite.name}${on}, seed ${seed}, ${(result.tookMs / 1_000).toFixed(0)} s\n`)
  printTables(suite, result.reports)
  const violated = result.reports.flatMap((report) =>
    report.verdicts.filter(({ holds }) => !holds).map((verdict) => ({ ...verdict, report })),
  )
  const wasCutShort = violated.length > 0 || result.troubles.length > 0
  const lacking = wasCutShort ? [] : shortcomings(suite, expectedFaults(given, given.transport(seed)), result.reports)
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
  console.log(`\nseed ${seed} failed; histories are kept in ${folder}\nreplay: ${given.command(seed)}`)
  return true
}

/** What the run has to show. @param transport `undefined`: any, or all of them */
function expectedFaults({ suite, only, broken }: Given, transport?: string): readonly string[] {
  if (only.length > 0) return only
  const mistake = broken === undefined ? undefined : suite.mistakes[broken]
  const played = suite.faults.filter((fault) => isPlayedOn(fault, transport))
  return mistake?.faults ?? played.map(({ name }) => name)
}

/** Aborted by the first SIGINT, SIGTERM or SIGHUP; later ones do not cut the ending of servers and workers short. */
function interruption(): { readonly signal: AbortSignal; readonly exitCode: () => number } {
  const controller = new AbortController()
  let code = 0
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (code === 0) say(`${signal}: ending servers and workers`)
      code ||= codes[signal]
      controller.abort()
    })
  }
  return { signal: controller.signal, exitCode: () => code }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

// What is given up in the middle may reject when nobody waits for it any more; the episode has said why.
process.on('unhandledRejection', (error) => say(`faults: left behind: ${String(error)}`))
process.exitCode = await main()
// Whatever a worker or a server left open in this process must not keep it.
process.exit()
