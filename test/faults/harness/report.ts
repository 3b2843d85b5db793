import { STANDSTILL_HEADS, standstillRows } from './standstills.ts'
import type { Counted, EpisodeReport, Suite } from './suite.ts'

export const COUNTED: Counted = {
  operations: 'operations',
  grants: 'grants',
  accepted: 'accepted',
  refused: 'refused',
  unknown: 'unknown',
  handOverMs: 'hand-over p50/max ms',
}

/** Why a run failed, one line each; empty: it passed. */
export function shortcomings(suite: Suite, expected: readonly string[], reports: readonly EpisodeReport[]): string[] {
  const problems: string[] = []
  for (const fault of expected) {
    const own = reports.filter((report) => report.fault === fault)
    if (own.length === 0) problems.push(`the fault "${fault}" was never played`)
    for (const { happened } of own) {
      if (happened === undefined) problems.push(`the fault "${fault}" was played, but nothing shows that it happened`)
    }
  }
  const kinds = new Set(reports.flatMap(({ succeeded }) => Object.keys(succeeded)))
  for (const kind of kinds) {
    const total = reports.reduce((sum, { succeeded }) => sum + (succeeded[kind] ?? 0), 0)
    if (total === 0) problems.push(`no operation of the kind "${kind}" ever succeeded: the run shows nothing`)
  }
  const judged = new Set(reports.flatMap(({ verdicts }) => verdicts.map(({ invariant }) => invariant)))
  const unknown = [...judged].filter((name) => !Object.hasOwn(suite.invariants, name))
  for (const name of unknown) problems.push(`a verdict on "${name}", which is no invariant of the suite`)
  return problems
}

export function printTables(suite: Suite, reports: readonly EpisodeReport[]): void {
  const faults = suite.faults.filter(({ name }) => reports.some(({ fault }) => fault === name))
  const rows = faults.map(({ name }) => faultRow(name, ofFault(reports, name)))
  const all = faultRow('all', reports)
  const { operations, grants, accepted, refused, unknown, handOverMs } = suite.counted ?? COUNTED
  const heads = ['fault', 'times', operations, grants, accepted, refused, unknown, handOverMs, 'invariants']
  print(heads, [...rows, all])
  console.log()
  print(['invariant', 'judged', 'holds', 'what it says'], invariantRows(suite, reports))
  printStandstills(faults.flatMap(({ name }) => ofFault(reports, name)))
  const caught = faults.flatMap(({ name }) => caughtRow(name, ofFault(reports, name)))
  if (caught.length === 0) return
  console.log('\nWhat no lease survives without a fence, and what the fence did about it:')
  print(['fault', 'times', 'overlaps of belief', 'longest ms', 'late writes refused', 'accepted out of order'], caught)
}

/** Prints the standstills of one run, or of several. */
export function printStandstills(reports: readonly EpisodeReport[]): void {
  const rows = standstillRows(reports)
  if (rows.length === 0) return
  console.log('\nHow long each part stood still:')
  print(STANDSTILL_HEADS, rows)
}

function faultRow(name: string, reports: readonly EpisodeReport[]): string[] {
  const sum = (of: (report: EpisodeReport) => number): string =>
    String(reports.reduce((total, report) => total + of(report), 0))
  const times = reports.flatMap(({ handOverMs }) => handOverMs).sort((a, b) => a - b)
  const middle = times[times.length >> 1]
  const handOver = middle === undefined ? '-' : `${middle.toFixed(1)} / ${(times.at(-1) ?? 0).toFixed(0)}`
  const violated = new Set(reports.flatMap(({ verdicts }) => verdicts.filter(({ holds }) => !holds)).map(nameOf))
  const unpromised = new Set(reports.flatMap(({ verdicts }) => verdicts.filter(isNotPromised)).map(nameOf))
  const judged = new Set(reports.flatMap(({ verdicts }) => verdicts).map(nameOf)).size - unpromised.size
  const verdict =
    violated.size > 0
      ? `VIOLATED: ${[...violated].join(', ')}`
      : unpromised.size === 0 || name === 'all'
        ? 'all hold'
        : `${judged} hold, not promised: ${[...unpromised].join(', ')}`
  return [
    name,
    String(reports.length),
    sum(({ counts }) => counts.operations),
    sum(({ counts }) => counts.grants),
    sum(({ counts }) => counts.accepted),
    sum(({ counts }) => counts.refused),
    sum(({ counts }) => counts.unknown),
    handOver,
    verdict,
  ]
}

function invariantRows(suite: Suite, reports: readonly EpisodeReport[]): string[][] {
  const verdicts = reports.flatMap((report) => report.verdicts)
  return Object.entries(suite.invariants).map(([name, text]) => {
    const judged = verdicts.filter((verdict) => verdict.invariant === name && !isNotPromised(verdict))
    const holds = judged.filter((verdict) => verdict.holds).length
    const verdict = judged.length === 0 ? 'not judged' : holds === judged.length ? 'yes' : `NO (${holds})`
    return [name, String(judged.length), verdict, text]
  })
}

function caughtRow(name: string, reports: readonly EpisodeReport[]): string[][] {
  const caught = reports.flatMap((report) => report.caught ?? [])
  if (caught.length === 0) return []
  const overlaps = caught.reduce((total, each) => total + each.overlaps, 0)
  const longest = Math.max(...caught.map(({ longestMs }) => longestMs))
  const refused = caught.reduce((total, each) => total + each.lateWritesRefused, 0)
  const outOfOrder = reports.filter(({ verdicts }) => verdicts.some((verdict) => isSink(verdict) && !verdict.holds))
  return [[name, reports.length, overlaps, longest.toFixed(0), refused, outOfOrder.length].map(String)]
}

const isSink = (verdict: { invariant: string }): boolean => verdict.invariant === 'accepted in order'
const nameOf = ({ invariant }: { invariant: string }): string => invariant
const isNotPromised = ({ notPromised }: { notPromised?: boolean | undefined }): boolean => notPromised === true
const ofFault = (reports: readonly EpisodeReport[], name: string): EpisodeReport[] =>
  reports.filter(({ fault }) => fault === name)

/** Columns as wide as their widest cell; numbers to the right. */
function print(heads: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const width = column === heads.length - 1 ? 0 : (widths[column] ?? 0)
        return /^[\d.]+( \/ \d+)?$/.test(cell) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  console.log(line(heads))
  console.log(widths.map((width, column) => '-'.repeat(column === heads.length - 1 ? 10 : width)).join('  '))
  for (const row of rows) console.log(line(row))
}
