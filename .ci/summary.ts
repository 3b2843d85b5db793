/**
 * The last lines of `.ci/run`: reads vitest's JSON reports, lists what went wrong, ends with `N passed, N failed`.
 * Here a skipped test is a failed one: every server is required, so there is no reason to skip. A test with a second try that
 * passed at its second try counts as passed and is named, with what failed at first. So does one of a file that was run again
 * by itself.
 *
 * Arguments: the reports, `again=<report>` of the files that were run again, `<step>=passed|failed` for each step of the run.
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
  /** Of each try that failed; a test that passed has some when it was tried again. */
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
// A step may fail without a failed test: a type error, a promise that nobody awaited.
const failedSteps = steps.filter((step) => step.endsWith('=failed')).map((step) => step.replace('=failed', ''))
if (failedSteps.includes('check')) problems.push('failed: npm run check')
if (failedSteps.includes('sim')) problems.push('failed: npm run sim, see its output above')
if (failedSteps.includes('containers')) problems.push('failed: the tests in containers, see their output above')
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

/** A file that could not be loaded, or whose hooks failed, has no failed test of its own. */
function failedAsAWhole(file: FileResult): boolean {
  return file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed')
}

/** Of one try: what went wrong, and where in a test. */
function briefly(message: string): string {
  const where = /\(?([^\s(]+\.test\.ts:\d+:\d+)/.exec(message)?.[1]
  const brief = firstLine(message).slice(0, 400)
  return where === undefined ? `  ${brief}` : `  ${brief} (${where})`
}

function firstLine(text = ''): string {
  return text.split('\n', 1)[0] ?? ''
}

/** A report that is missing means that vitest itself did not get to its end: a failure of its own. */
function readReport(file: string): Report {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Report
  } catch {
    return { testResults: [{ name: file, status: 'failed', message: 'is no report', assertionResults: [] }] }
  }
}
