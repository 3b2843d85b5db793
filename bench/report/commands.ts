/** What is done with reports: nothing is measured. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { withTables } from './markdown.ts'
import { compareReports } from './ratios.ts'
import { parseReport, type Report } from './report.ts'

const COMMITTED = fileURLToPath(new URL('../report.json', import.meta.url))
const PAGE = fileURLToPath(new URL('../README.md', import.meta.url))

/** Names each with its arguments; the text of a mistake, else the exit code. */
export const COMMANDS: Readonly<Record<string, (args: readonly string[]) => number | string>> = {
  compare: ([now, before = COMMITTED, ...more]) => {
    if (now === undefined || more.length > 0)
      return 'compare: expected the file of a report, and another one to compare it with if it is not bench/report.json'
    return comparing(reportAt(before), reportAt(now))
  },
  tables: ([file = COMMITTED, page = PAGE, ...more]) => {
    if (more.length > 0) return 'tables: expected the file of a report, and the page if it is not bench/README.md'
    writeFileSync(page, withTables(readFileSync(page, 'utf8'), reportAt(file)))
    return 0
  },
}

/** Shows what fell; 1 when something did. */
function comparing(before: Report, after: Report): number {
  const { fallen, compared, missing } = compareReports(before, after)
  for (const { name, before: then, after: now } of fallen)
    console.log(`fell by ${((1 - now / then) * 100).toFixed(0)} %: ${name}: ${then.toFixed(2)} -> ${now.toFixed(2)}`)
  for (const name of missing) console.log(`not measured any more: ${name}`)
  console.log(`${compared} ratios compared, ${fallen.length} fell by more than 10 %`)
  return fallen.length === 0 ? 0 : 1
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
