/** Runs the program: parses the command line, runs the orders, prints the result, exits. */
import type { Logger } from 'concordat/core'
import { pino } from 'pino'
import { boardText } from './board.ts'
import { readLines } from './intake/lines.ts'
import { type Options, parseOptions, USAGE, UsageError } from './options.ts'
import { findInputFiles, type InputFiles, openOrders, requireReportPlace, spoolOrders } from './run/files.ts'
import { Interrupted, onInterrupt } from './run/interrupt.ts'
import { writeReport } from './run/report.ts'
import { type RunResult, run } from './run/run.ts'
import type { Stage } from './run/stage.ts'
import { describeResult } from './run/terminal.ts'

const startedAt = performance.now()

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const found = await findInputFiles(options.files)
  await requireReportPlace(options.report)
  if (options.mode === 'distributed') await (await import('./run/servers.ts')).requireServers(options)
  const logger = pino({ level: options.logLevel, base: { service: 'main' } }, pino.destination(2))
  const signal = onInterrupt()
  // The kill plan spreads its kills over the run, so the number of orders must be known.
  const files = killsOf(options) > 0 && !found.isRereadable ? await spoolOrders(found) : found
  const total = await countLines(files)
  const stage = await openStage(options, files, total, logger)
  process.stderr.write(`${stage.title}\n`)
  let result: RunResult | undefined
  try {
    const { pausePaymentsAt } = options
    result = await run({ stage, files, total, startedAt, signal, pausePaymentsAt })
    if (options.report !== undefined) await writeReport(options.report, result.report)
  } finally {
    let board: string | undefined
    const lastLook = async (): Promise<void> => void (board = await boardText(stage.cluster))
    const note = await stage.close(result?.faults.length === 0, lastLook)
    const notes = [killedText(stage), board, note].filter((text) => text !== undefined)
    if (result === undefined) process.stderr.write(notes.map((text) => `${text}\n`).join(''))
    else process.stdout.write(describeResult(result.report, result.faults, notes))
  }
  return result.faults.length === 0 ? 0 : 1
}

function killsOf(options: Options): number {
  return options.mode === 'distributed' ? options.kill : 0
}

function killedText({ killed }: Stage): string | undefined {
  return killed.length === 0 ? undefined : `Killed in turn: ${killed.join(', ')}.`
}

/** Loads the drivers of this mode only. */
async function openStage(
  options: Options,
  files: InputFiles,
  total: number | undefined,
  logger: Logger,
): Promise<Stage> {
  if (options.mode === 'embedded') {
    const { embeddedStage } = await import('./run/embedded.ts')
    return embeddedStage(options.data, files, logger)
  }
  if (options.attach) return (await import('./run/attached.ts')).attachedStage(options, logger)
  const { distributedStage } = await import('./run/distributed.ts')
  return distributedStage(options, files, total ?? 0, logger)
}

/** Counts the lines for the progress bar and the kill plan. @returns `undefined` for a pipe, whose length is unknown */
async function countLines(files: InputFiles): Promise<number | undefined> {
  if (!files.isRereadable) return undefined
  let count = 0
  for await (const _ of readLines(openOrders(files), 0)) count++
  return count
}

/** Runs `main` and exits the process with its code. */
export async function runProgram(): Promise<never> {
  try {
    process.exit(await main())
  } catch (error) {
    process.stderr.write(`order-payment: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(error instanceof UsageError ? 2 : error instanceof Interrupted ? error.exitCode : 1)
  }
}
