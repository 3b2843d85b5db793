/**
 * Prints the last lines of `.ci/run`: reads vitest's JSON reports, lists the failures, ends with `N passed, N failed`.
 * A skipped test counts as failed: every server is required, so no test has a reason to skip. A test that passes at its
 * second try counts as passed; the summary names it, with its first failure. The same holds for a test of a file that
 * was run again alone.
 *
 * Arguments: the reports, `again=<report>` of the files that were run again, `<step>=passed|failed` for each step of
 * the run.
 */
import { readFileSync } from 'node:fs'

interface Report {
  readonly testResults: readonly FileResult[]
}

interface FileResult {
  readonly name: string
  readonly status: 'passed' | 'failed'
  readonly message: string
  readonly assertionResults: readonly TestResult[]
}

interface TestResult {
  readonly fullName: string
  readonly status: string
  /** Messages of each failed try. A test that passed at its second try has one, too. */
  readonly failureMessages?: readonly string[]
}

const steps = process.argv.slice(2).filter((argument) => /=(passed|failed)$/.test(argument))
const rerun = process.argv.slice(2).flatMap((argument) => /^again=(.+)$/.exec(argument)?.[1] ?? [])
const reports = process.argv.slice(2).filter((argument) => !steps.includes(argument) && !argument.startsWith('again='))
const first = reports.flatMap((report) => readReport(report).testResults)
const second = rerun.flatMap((report) => readReport(report).testResults)
const files = [...first.filter(({ name }) => second.every((file) => file.name !== name)), ...second]
const results = files.flatMap((file) => file.assertionResults)
const passed = results.filter(({ status }) => status === 'passed').length
const problems = [
  ...results
    .filter(({ status }) => status !== 'passed')
    .map(({ status, fullName, failureMessages = [] }) =>
      [`${status}: ${fullName}`, ...failureMessages.map(briefly)].join('\n'),
    ),
  ...files.filter(failedAsAWhole).map(({ name, message }) => `failed: ${name} ${message}`),
]
// A step may fail without a failed test: a type error, or an unhandled rejection.
const failedSteps = steps.filter((step) => step.endsWith('=failed')).map((step) => step.replace('=failed', ''))
if (failedSteps.includes('check')) problems.push('failed: npm run check')
if (failedSteps.includes('sim')) problems.push('failed: npm run sim, see its output above')
if (failedSteps.includes('dependencies')) problems.push('failed: npm run licences or npm audit, see their output above')
if (failedSteps.includes('site')) problems.push('failed: npm run docs, see its output above')
if (failedSteps.includes('tests') && problems.length === 0) problems.push('failed: npm test, see its output above')

const alone = first
  .filter((file) => !files.includes(file))
  .flatMap(({ assertionResults }) => assertionResults)
  .filter(({ status, fullName }) => status !== 'passed' && hasPassed(fullName))
  .map(({ fullName, failureMessages = [] }) =>
    [`passed when its file was run again alone: ${fullName}`, ...failureMessages.map(briefly)].join('\n'),
  )
const again = results
  .filter(({ status, failureMessages = [] }) => status === 'passed' && failureMessages.length > 0)
  .map(
    ({ fullName, failureMessages = [] }) => `passed at the second try: ${fullName}: ${firstLine(failureMessages[0])}`,
  )

const lines = [...again, ...alone, ...problems, `${passed} passed, ${problems.length} failed`]
process.stdout.write(`${lines.join('\n')}\n`)
process.exitCode = problems.length === 0 && passed > 0 ? 0 : 1

function hasPassed(fullName: string): boolean {
  return second.some((file) =>
    file.assertionResults.some((each) => each.fullName === fullName && each.status === 'passed'),
  )
}

/** Finds a file that failed without a failed test: it could not be loaded, or its hooks failed. */
function failedAsAWhole(file: FileResult): boolean {
  return file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed')
}

/** Returns the first line of a failure, and its position in the test. */
function briefly(message: string): string {
  const where = /\(?([^\s(]+\.test\.ts:\d+:\d+)/.exec(message)?.[1]
  const brief = firstLine(message).slice(0, 400)
  return where === undefined ? `  ${brief}` : `  ${brief} (${where})`
}

function firstLine(text = ''): string {
  return text.split('\n', 1)[0] ?? ''
}

/** Reads a report. A missing report means that vitest itself did not finish, and counts as a failure. */
function readReport(file: string): Report {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Report
  } catch {
    return { testResults: [{ name: file, status: 'failed', message: 'is no report', assertionResults: [] }] }
  }
}
