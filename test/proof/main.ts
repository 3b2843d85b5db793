/**
 * `npm run proof -- --transport rabbitmq|kafka|postgres --messages N --faults N --seed N --report FILE` (`--help` has
 * the details): counts the promise. Orders go through sagas on real servers while every kind of process and server is
 * killed and frozen; then everything is counted. `docs/contributing/how-we-test.md` explains the report.
 */
import { writeFileSync } from 'node:fs'
import { told } from '../faults/harness/errors.ts'
import { interruption } from '../support/interruption.ts'
import { ProgressLine } from '../support/progress-line.ts'
import { ServerUnavailable } from '../support/servers/index.ts'
import { type Given, help, parseCommand } from './command-line.ts'
import { UsageError } from './errors.ts'
import { checkOutputs } from './outputs.ts'
import { curveSvg } from './report/curve.ts'
import { markdownOf } from './report/markdown.ts'
import { progressTeller } from './report/progress-text.ts'
import type { Report } from './report/report.ts'
import { run } from './run/run.ts'

async function main(): Promise<number> {
  let given: Given | undefined
  try {
    given = parseCommand(process.argv.slice(2))
    if (given !== undefined) checkOutputs(given)
  } catch (error) {
    return refused(error)
  }
  if (given === undefined) {
    console.log(help())
    return 0
  }
  const { signal, exitCode } = interruption((text) => say(`\n${text}`))
  const line = new ProgressLine(process.stderr)
  const tell = progressTeller()
  try {
    const report = await run(given, { signal, told: (told) => line.show(() => tell(told)), say })
    line.end()
    conclude(given, report)
    if (report.gaveUp) say(`given up, not over; ${onwardOf(given)}`)
    return report.exact ? 0 : 1
  } catch (error) {
    line.end()
    const onward = onwardOf(given)
    if (signal.aborted) {
      say(`ended; ${onward}`)
      return exitCode()
    }
    if (isRefusal(error)) return refused(error)
    console.error(`proof: the run itself went wrong: ${told(error)}; ${onward}`)
    return 1
  }
}

function onwardOf({ folder }: Given): string {
  return `go on with: npm run proof -- --dir ${folder} --resume`
}

/** Prints a mistake of the caller or of the machine on one line. @throws any other error */
function refused(error: unknown): number {
  if (!isRefusal(error)) throw error
  console.error(`proof: ${error.message}`)
  return 2
}

function isRefusal(error: unknown): error is Error {
  return error instanceof UsageError || error instanceof ServerUnavailable
}

function conclude({ report: file, curve, folder }: Given, report: Report): void {
  const text = `${markdownOf(report)}\n`
  console.log(`\n${text}`)
  if (file !== undefined)
    writeFileSync(file, file.endsWith('.json') ? `${JSON.stringify(report, undefined, 2)}\n` : text)
  if (curve !== undefined)
    writeFileSync(curve, curveSvg(report.curve, `${report.options.transport}, seed ${report.options.seed}`))
  say(report.exact ? 'everything is exact' : `NOT exact; what there is to look at is in ${folder}`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

// An interrupted call may reject when it is no longer awaited.
process.on('unhandledRejection', (error) => say(`proof: left behind: ${String(error)}`))
process.exitCode = await main()
// Handles that a process or a server left open must not keep this process alive.
process.exit()
