import { comparisonTable } from '../compare.ts'
import { tableText } from '../table.ts'
import type { Report, SuiteReport } from './report.ts'

const BEGIN = '<!-- made by `npm run bench -- tables`: begin -->'
const END = '<!-- made by `npm run bench -- tables`: end -->'

/** The page with the tables of the report between its two marks. @throws Error when it has not both */
export function withTables(page: string, report: Report): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`the page has no lines "${BEGIN}" and "${END}", in that order`)
  return `${page.slice(0, begin + BEGIN.length)}\n\n${tablesOf(report)}\n${page.slice(end)}`
}

function tablesOf({ at, rounds, versions, machine, suites }: Report): string {
  const said = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const head = [
    `${dateOf(at)}, medians of ${rounds} round${rounds === 1 ? '' : 's'}, on ${machine.cores} cores (${machine.cpu}) with ${machine.memoryGb} GB.`,
    `${said.join(', ')}.`,
  ].join('\n')
  return [head, ...suites.map((suite) => sectionOf(suite, machine.cores))].join('\n\n')
}

function sectionOf({ name, load, tookS, results, tables, leftOut, failed }: SuiteReport, cores: number): string {
  const isBusy = Math.max(load.before, load.after) > cores
  const about = `Load ${load.before} before and ${load.after} after, ${tookS} s.${isBusy ? ' More than there are cores: the ratios mean something, the rates little.' : ''}`
  return [
    `### ${name}, measured`,
    about,
    ...(results.length === 0 ? [] : [tableText(comparisonTable(name, results))]),
    ...tables.map((table) => `**${table.title}**\n\n${tableText(table)}`),
    ...leftOut.map((reason) => `Left out: ${reason}`),
    ...(failed === undefined ? [] : [`Ended with an error: ${failed}`]),
  ].join('\n\n')
}

/** `22 November 2026, 12:10 UTC`. */
function dateOf(at: string): string {
  const date = new Date(at)
  const day = date.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' })
  return `${day}, ${date.toISOString().slice(11, 16)} UTC`
}
