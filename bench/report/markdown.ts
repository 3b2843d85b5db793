import { comparisonTable } from '../compare.ts'
import { tableText } from '../table.ts'
import type { Report, SuiteReport } from './report.ts'

/** Marker of the part of the page that lists the versions common to all suites. */
const VERSIONS = 'versions'
const begins = (name: string): string => `<!-- npm run bench -- tables: ${name} begins -->`
const ends = (name: string): string => `<!-- npm run bench -- tables: ${name} ends -->`

/**
 * The page with the tables of each suite of the report between its marks. Tables of other suites stay, and so do those
 * of a suite that ended with an error: the report has less than a whole run of it.
 * @throws Error when the page lacks the marks of a suite
 */
export function withTables(page: string, report: Report): string {
  const { versions, suites } = report
  const said = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const sections = new Map([[VERSIONS, `${said.join(', ')}.`]])
  for (const suite of suites) if (suite.failed === undefined) sections.set(suite.name, sectionOf(suite, report))
  return [...sections].reduce((text, [name, section]) => between(text, name, section), page)
}

function between(page: string, name: string, text: string): string {
  const [first, last] = [begins(name), ends(name)]
  const begin = page.indexOf(first)
  const end = page.indexOf(last)
  if (begin < 0 || end < begin)
    throw new Error(`the page has no lines "${first}" and "${last}", in that order: write them where its tables belong`)
  return `${page.slice(0, begin + first.length)}\n\n${text}\n\n${page.slice(end)}`
}

function sectionOf(suite: SuiteReport, { machine }: Report): string {
  const { name, at, rounds, load, tookS, results, tables, leftOut } = suite
  const isBusy = Math.max(load.before, load.after) > machine.cores
  const about = [
    `${dateOf(at)}, medians of ${rounds} round${rounds === 1 ? '' : 's'}, on ${machine.cores} cores (${machine.cpu}) with ${machine.memoryGb} GB.`,
    `Load ${load.before} before and ${load.after} after, ${tookS} s.${isBusy ? ' More than there are cores: the ratios mean something, the rates little.' : ''}`,
  ].join('\n')
  return [
    about,
    ...(results.length === 0 ? [] : [tableText(comparisonTable(name, results))]),
    ...tables.map((table) => `**${table.title}**\n\n${tableText(table)}`),
    ...leftOut.map((reason) => `Left out: ${reason}`),
  ].join('\n\n')
}

/** `22 November 2026, 12:10 UTC`. */
function dateOf(at: string): string {
  const date = new Date(at)
  const day = date.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' })
  return `${day}, ${date.toISOString().slice(11, 16)} UTC`
}
