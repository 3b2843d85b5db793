/** Commands that work on existing reports and measure nothing. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { withTables } from './markdown.ts'
import { compareReports } from './ratios.ts'
import { parseReport, type Report } from './report.ts'

const COMMITTED = fileURLToPath(new URL('../report.json', import.meta.url))
const PAGE = fileURLToPath(new URL('../tables.md', import.meta.url))

/** Names each with its arguments; the text of a mistake, else the exit code. */
export const COMMANDS: Readonly<Record<string, (args: readonly string[]) => number | string>> = {
  compare: ([now, before = COMMITTED, ...more]) => {
    if (now === undefined || more.length > 0)
      return 'compare: expected the file of a report, and another one to compare it with if it is not bench/report.json'
    return comparing({ file: before, report: reportAt(before) }, { file: now, report: reportAt(now) })
  },
  tables: ([file = COMMITTED, page = PAGE, ...more]) => {
    if (more.length > 0) return 'tables: expected the file of a report, and the page if it is not bench/tables.md'
    return writing(reportAt(file), page)
  },
}

interface ReportFile {
  readonly file: string
  readonly report: Report
}

/**
 * Shows what fell; 1 when something did.
 * @throws Error when they have no ratio in common
 */
function comparing(before: ReportFile, after: ReportFile): number {
  const { fallen, compared, missing } = compareReports(before.report, after.report)
  if (compared === 0) throw new Error(nothingCompared(after, before))
  for (const { name, failed } of failedOf(after.report)) console.log(`${name} ended with an error: ${failed}`)
  for (const { name, before: then, after: now } of fallen)
    console.log(`fell by ${((1 - now / then) * 100).toFixed(0)} %: ${name}: ${then.toFixed(2)} -> ${now.toFixed(2)}`)
  for (const name of missing) console.log(`not measured any more: ${name}`)
  console.log(`${compared} ratios compared, ${fallen.length} fell by more than 10 %`)
  return fallen.length === 0 ? 0 : 1
}

function nothingCompared(...files: readonly ReportFile[]): string {
  const names = files.map(({ file }) => file).join(' and ')
  const suites = files.map(({ report }) => report.suites.map(({ name }) => name).join(', ') || 'none')
  return `nothing was compared: ${names} have no ratio in common. The suites are ${suites.join(' and ')}`
}

/** Writes the tables into the page. @returns 1 when some tables are unchanged because their suite failed */
function writing(report: Report, page: string): number {
  writeFileSync(page, withTables(readFileSync(page, 'utf8'), report))
  const failed = failedOf(report)
  for (const suite of failed)
    console.log(`left as it is in the page: ${suite.name}, which ended with an error: ${suite.failed}`)
  return failed.length === 0 ? 0 : 1
}

function failedOf({ suites }: Report): readonly { readonly name: string; readonly failed: string }[] {
  return suites.flatMap(({ name, failed }) => (failed === undefined ? [] : [{ name, failed }]))
}

/** @throws Error that says which file, and what is wrong */
export function reportAt(path: string): Report {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Error(`${path} cannot be read: make it with npm run bench -- all --report FILE`, { cause })
  }
  return parseReport(text, path)
}
