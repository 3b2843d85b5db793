/**
 * Transfers money between two banks with a database each, and charges a fee: the same operation in each kind of
 * transaction, in processes that are killed. `npm run transfer -- --help` lists the options; README.md in this folder
 * describes the example.
 *
 * Exit codes: 0 the money is balanced and no work is left; 1 it is not, or the run failed; 2 invalid options or no
 * server; 130 and 143 ended by SIGINT and SIGTERM.
 */
import { writeFile } from 'node:fs/promises'
import { Databases } from './databases.ts'
import { parseOptions, USAGE, UsageError } from './options.ts'
import { type Report, run } from './run.ts'

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const interrupted = new AbortController()
  let code = 1
  for (const [signal, exitCode] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      code = exitCode
      interrupted.abort(new Error(`ended by ${signal}`))
    })
  }
  try {
    await using databases = await Databases.open(options.postgres)
    const report = await run(options, databases, interrupted.signal)
    if (options.report !== undefined) await writeFile(options.report, `${JSON.stringify(report, null, 2)}\n`)
    process.stdout.write(describe(report))
    return holds(report) ? 0 : 1
  } catch (error) {
    if (error instanceof UsageError) throw error
    process.stderr.write(`transfer: ${error instanceof Error ? error.message : String(error)}\n`)
    return code
  }
}

function holds({ transfers, money, left }: Report): boolean {
  return money.balanced && transfers.stuck === 0 && left.prepared + left.rowLocks + left.open === 0
}

function describe(report: Report): string {
  const { kind, transfers, money, left, restarts, elapsedMs } = report
  const rows: ReadonlyArray<readonly [string, string]> = [
    ['kind', kind],
    [
      'transfers',
      `${transfers.asked}: ${transfers.completed} completed, ${transfers.refused} refused, ${transfers.stuck} stuck`,
    ],
    [
      'money',
      `${money.beforeCents} cents before, ${money.afterCents} after: ${money.balanced ? 'balanced' : 'NOT BALANCED'}`,
    ],
    ['left', `${left.open} open, ${left.prepared} prepared, ${left.rowLocks} rows locked`],
    ['restarts', String(restarts)],
    ['elapsed', `${(elapsedMs / 1_000).toFixed(1)} s`],
  ]
  return rows.map(([name, text]) => `${name.padEnd(10)} ${text}\n`).join('')
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`transfer: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
