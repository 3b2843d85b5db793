/**
 * The files of a vitest report that failed, a line each, if they are few: a machine that stalled fails some, a defect that is
 * everywhere fails many, and those are not worth another run.
 *
 * Arguments: the report.
 */
import { readFileSync } from 'node:fs'

const MOST = 3

interface Report {
  readonly testResults: ReadonlyArray<{ readonly name: string; readonly status: string }>
}

const [report = ''] = process.argv.slice(2)
const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report
const failed = testResults.filter(({ status }) => status === 'failed').map(({ name }) => name)
if (failed.length <= MOST) for (const name of failed) process.stdout.write(`${name}\n`)
