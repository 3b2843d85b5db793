/**
 * The order-payment example. `npm start -- --help` lists what it takes; README.md in this folder tells what it does.
 *
 * Exit codes: 0 every order reached an end and both balances hold; 1 not; 2 a mistake in the command line or an
 * unreachable server, nothing was started; 130 and 143 ended by SIGINT and SIGTERM.
 */
import type { Logger } from 'concordat/core'
import { pino } from 'pino'
import { readLines } from './intake/lines.ts'
import { type Options, parseOptions, USAGE, UsageError } from './options.ts'
import { distributedStage } from './run/distributed.ts'
import { embeddedStage } from './run/embedded.ts'
import { findInputFiles, type InputFiles, openOrders, requireReportPlace } from './run/files.ts'
import { Interrupted, onInterrupt } from './run/interrupt.ts'
import { writeReport } from './run/report.ts'
import { type RunResult, run } from './run/run.ts'
import { requireServers } from './run/servers.ts'
import type { Stage } from './run/stage.ts'
import { describeResult } from './run/terminal.ts'

const startedAt = performance.now()

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const files = await findInputFiles(options.files)
  await requireReportPlace(options.report)
  if (options.mode === 'distributed') await requireServers(options)
  const logger = pino({ level: options.logLevel, base: { service: 'main' } }, pino.destination(2))
  const signal = onInterrupt()
  const total = await countLines(files)
  const stage = await openStage(options, files, total, logger)
  process.stderr.write(`${stage.title}\n`)
  let result: RunResult | undefined
  let note: string | undefined
  try {
    result = await run({ stage, files, total, startedAt, signal })
  } finally {
    note = await stage.close(result !== undefined && result.faults.length === 0)
  }
  if (options.report !== undefined) await writeReport(options.report, result.report)
  process.stdout.write(describeResult(result.report, result.faults, note === undefined ? [] : [note]))
  return result.faults.length === 0 ? 0 : 1
}

function openStage(
  options: Options,
  files: InputFiles,
  total: number | undefined,
  logger: Logger,
): Stage | Promise<Stage> {
  return options.mode === 'embedded'
    ? embeddedStage(options.data, files, logger)
    : distributedStage(options, files, total ?? 0, logger)
}

/** For the progress bar and the moments of the kills. Nobody knows how much will come from standard input. */
async function countLines(files: InputFiles): Promise<number | undefined> {
  if (files.orders === '-') return undefined
  let count = 0
  for await (const _ of readLines(openOrders(files), 0)) count++
  return count
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`order-payment: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(error instanceof UsageError ? 2 : error instanceof Interrupted ? error.exitCode : 1)
  },
)
