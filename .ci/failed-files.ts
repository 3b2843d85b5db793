/**
 * Prints the failed files of a vitest report, one per line, if there are at most `MOST`. A stalled machine fails a few
 * files. A widespread defect fails many, and another run of those is not worth the time.
 *
 * Arguments: the report.
 */
import { readFileSync } from 'node:fs'

const MOST = 16

interface Report {
  readonly testResults: ReadonlyArray<{ readonly name: string; readonly status: string }>
}

const [report = ''] = process.argv.slice(2)
const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report
const failed = testResults.filter(({ status }) => status === 'failed').map(({ name }) => name)
if (failed.length <= MOST) for (const name of failed) process.stdout.write(`${name}\n`)
