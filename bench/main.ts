/**
 * `npm run bench -- <suite>... [--rounds N] [--only NAME,...] [--minutes N] [--orders N] [--report FILE]`: speed beside the
 * peer, measured in the same run. `all` is every suite but the soak. An existing report keeps the suites that are not measured
 * again. `compare FILE [BEFORE]` shows ratios that fell, `tables [FILE] [PAGE]` writes a report's tables into the page.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Comparison, compare, comparisonTable, type Result } from './compare.ts'
import { UnknownPart } from './parts.ts'
import { COMMANDS, reportAt } from './report/commands.ts'
import { loadNow, thisMachine, versionsHere } from './report/machine.ts'
import { FORMAT, type Report, type SuiteReport, withSuites } from './report/report.ts'
import { printTable, type Table } from './table.ts'

/** Options that a suite gets from the command line. */
export interface SuiteOptions {
  readonly rounds: number
  /** Parts to run; empty = all. */
  readonly only: readonly string[]
  /** Duration of a soak. */
  readonly minutes: number
  /** Orders of a run of the example. */
  readonly orders: number
  /** Compares and keeps the result for the table. */
  readonly measure: (comparison: Comparison) => Promise<void>
  /** A table of the suite's own, printed at the end. */
  readonly report: (table: Table) => void
  /** Reports progress to the person who runs the bench. */
  readonly progress: (what: string) => void
  /** Reports a measurement that was left out, and why. */
  readonly skip: (reason: string) => void
}

type Suite = (options: SuiteOptions) => Promise<void>

const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  binder: async () => (await import('./binder/suite.ts')).binderSuite,
  bus: async () => (await import('./bus/suite.ts')).busSuite,
  election: async () => (await import('./election/suite.ts')).electionSuite,
  example: async () => (await import('./example/suite.ts')).exampleSuite,
  locks: async () => (await import('./locks/suite.ts')).locksSuite,
  outbox: async () => (await import('./outbox/suite.ts')).outboxSuite,
  postgres: async () => (await import('./postgres/suite.ts')).postgresSuite,
  saga: async () => (await import('./saga/suite.ts')).sagaSuite,
  scale: async () => (await import('./scale/suite.ts')).scaleSuite,
  service: async () => (await import('./service/suite.ts')).serviceSuite,
  soak: async () => (await import('./soak/suite.ts')).soakSuite,
  transactions: async () => (await import('./transactions/suite.ts')).transactionsSuite,
}

async function main(): Promise<number> {
  const [first = '', ...more] = process.argv.slice(2)
  const command = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
  if (command !== undefined) return conclude(() => command(more))
  if (first === '--help') {
    console.log(usage())
    return 0
  }
  const given = parseArguments()
  if (typeof given === 'string') return misused(given)
  const mistake = given.report === undefined ? undefined : mistakeOfReport(given.report, given)
  if (mistake !== undefined) return misused(mistake)
  const suites: SuiteReport[] = []
  for (const suite of given.suites) {
    try {
      suites.push(await runSuite(suite, given))
    } catch (error) {
      if (error instanceof UnknownPart) return misused(error.message)
      throw error
    }
    // After each: hours are not lost to the last one.
    if (given.report !== undefined) writeReport(given.report, suites)
  }
  return suites.some(({ failed }) => failed !== undefined) ? 1 : 0
}

function conclude(command: () => number | string): number {
  try {
    const outcome = command()
    return typeof outcome === 'string' ? misused(outcome) : outcome
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
    return 2
  }
}

/** Describes what is wrong with the file of `--report`; checked before anything is measured for it. */
function mistakeOfReport(file: string, { suites, only }: Given): string | undefined {
  if (!existsSync(file)) return undefined
  try {
    const had = withSuites(reportAt(file), reportOf([])).suites.map(({ name }) => name)
    const name = suites.map((suite) => suite.name).find((each) => had.includes(each))
    return only.length > 0 && name !== undefined
      ? `--only: parts of ${name} cannot replace the whole of it in ${file}: name another file`
      : undefined
  } catch (error) {
    return `--report ${file}: ${error instanceof Error ? error.message : String(error)}`
  }
}

function writeReport(file: string, suites: readonly SuiteReport[]): void {
  const report = withSuites(existsSync(file) ? reportAt(file) : undefined, reportOf(suites))
  writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`)
}

function reportOf(suites: readonly SuiteReport[]): Report {
  return { format: FORMAT, versions: versionsHere(), machine: thisMachine(), suites }
}

/**
 * Runs a suite and prints its tables when it has ended. With a report, a suite that fails does not end those after it.
 */
async function runSuite({ name, load }: NamedSuite, given: Given): Promise<SuiteReport> {
  const { rounds, only, minutes, orders } = given
  const [at, before, beganAt] = [new Date().toISOString(), loadNow(), performance.now()]
  let failed: string | undefined
  const results: Result[] = []
  const tables: Table[] = []
  const skipped: string[] = []
  const progress = (what: string): void => void process.stderr.write(`${what} ...\n`)
  const suite = await load()
  const running = suite({
    rounds,
    only,
    minutes,
    orders,
    progress,
    measure: async (comparison) => {
      progress(comparison.what)
      results.push(await compare(comparison, rounds))
    },
    report: (table) => void tables.push(table),
    skip: (reason) => void skipped.push(reason),
  })
  await running.catch((error: unknown) => {
    if (given.report === undefined || error instanceof UnknownPart) throw error
    failed = error instanceof Error ? error.message : String(error)
    console.error(`bench: ${name} failed: ${failed}`)
  })
  const medians = `medians of ${rounds} round${rounds === 1 ? '' : 's'}, the sides taking turns`
  if (results.length > 0) printTable(comparisonTable(`${name}: ${medians}`, results))
  for (const table of tables) printTable(table)
  for (const reason of skipped) console.log(`left out: ${reason}`)
  const tookS = Math.round((performance.now() - beganAt) / 1_000)
  return { name, at, rounds, tookS, load: { before, after: loadNow() }, results, tables, leftOut: skipped, failed }
}

function misused(how: string): number {
  console.error(`bench: ${how}. ${usage()}`)
  return 2
}

function usage(): string {
  const suites = Object.keys(SUITES).join('|')
  return `Usage: npm run bench -- all|${suites}... [--rounds N] [--only NAME,...] [--minutes N] [--orders N] [--report FILE], or compare FILE [BEFORE], or tables [FILE]`
}

const MAX_MINUTES = 10_000
/** Fewest orders: with fewer the bench would measure starting and ending. */
const MIN_ORDERS = 500

interface NamedSuite {
  readonly name: string
  readonly load: () => Promise<Suite>
}

interface Given {
  /** Suites in the order given; each runs when the one before it has ended. */
  readonly suites: readonly NamedSuite[]
  readonly rounds: number
  readonly only: readonly string[]
  readonly minutes: number
  readonly orders: number
  /** File for the report. */
  readonly report: string | undefined
}

/** All suites except the one whose duration is an option. */
const ALL = Object.keys(SUITES).filter((name) => name !== 'soak')

/** Parses the command line, or describes what is wrong with it. */
function parseArguments(): Given | string {
  try {
    const text = (value: string) => ({ type: 'string', default: value }) as const
    const report = { type: 'string' } as const
    const options = { rounds: text('5'), only: text(''), minutes: text('10'), orders: text('5000'), report }
    const { positionals, values } = parseArgs({ options, allowPositionals: true })
    if (positionals.length === 0) return 'name a suite'
    const suites: NamedSuite[] = []
    for (const name of new Set(positionals.flatMap((each) => (each === 'all' ? ALL : [each])))) {
      const load = Object.hasOwn(SUITES, name) ? SUITES[name] : undefined
      if (load === undefined) return `there is no suite "${name}"`
      suites.push({ name, load })
    }
    const rounds = Number(values.rounds)
    if (!Number.isSafeInteger(rounds) || rounds < 1)
      return `--rounds: expected a whole number >= 1, got "${values.rounds}"`
    const only = values.only.split(',').filter((part) => part !== '')
    if (only.length > 0 && suites.length > 1) return '--only: parts belong to one suite, so name one'
    const minutes = Number(values.minutes)
    if (!(minutes > 0 && minutes <= MAX_MINUTES))
      return `--minutes: expected a number > 0 and <= ${MAX_MINUTES}, got "${values.minutes}"`
    const orders = Number(values.orders)
    if (!Number.isSafeInteger(orders) || orders < MIN_ORDERS)
      return `--orders: expected a whole number >= ${MIN_ORDERS}, got "${values.orders}"`
    return { suites, rounds, only, minutes, orders, report: values.report }
  } catch (error) {
    return error instanceof Error ? error.message.replace(/\.$/, '') : String(error)
  }
}

process.exitCode = await main()
