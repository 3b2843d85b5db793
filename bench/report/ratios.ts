import type { Table } from '../table.ts'
import type { Report } from './report.ts'

/** A ratio of a report; higher is better in all of them. */
export interface Ratio {
  /** Suite, row and peer. */
  readonly name: string
  readonly value: number
}

export interface Change {
  readonly name: string
  readonly before: number
  readonly after: number
}

export interface Comparison {
  /** Ratios that fell by more than the tolerance, the worst first. */
  readonly fallen: readonly Change[]
  /** Number of ratios that both reports have. */
  readonly compared: number
  /** Measured before, and not now. */
  readonly missing: readonly string[]
}

/** Columns with a ratio to a peer, in the suites' own tables. */
const RATIO_COLUMNS = [
  'ratio',
  'ours / theirs',
  'ours / a bare INSERT',
  'concordat / it',
  'of bare',
  'of the first',
  'of DBOS',
  'of DBOS services',
  'of one',
  'of the rate without',
  'of the rate of kafkajs',
]
/** The less the better: turned over. */
const COST_COLUMNS = ['each further / first']
/** Columns that identify a row, besides the first one. */
const LABEL_COLUMNS = ['who']
const TOLERANCE = 0.1

/** @throws Error when two have one name: of those one would be compared with both */
export function ratiosOf({ suites }: Report): readonly Ratio[] {
  const ratios = suites.flatMap(({ name, results, tables }) => [
    ...results.flatMap(({ what, ours, peer, peerName }) =>
      peer === undefined ? [] : [{ name: `${name}: ${what}, beside ${peerName ?? '-'}`, value: ours / peer }],
    ),
    ...tables.flatMap((table) => ratiosIn(name, table)),
  ])
  const names = new Set<string>()
  for (const { name } of ratios) {
    if (names.has(name))
      throw new Error(`two ratios are called "${name}": put the column that tells its rows apart into LABEL_COLUMNS`)
    names.add(name)
  }
  return ratios
}

/** A second ratio of a row has its column in its name; the first one had none in reports that were written before. */
function ratiosIn(suite: string, { title, head, rows }: Table): readonly Ratio[] {
  const columns = head.flatMap((name, at) => (RATIO_COLUMNS.includes(name) || COST_COLUMNS.includes(name) ? [at] : []))
  return rows.flatMap((row) =>
    columns.flatMap((at, nth) => {
      const value = Number.parseFloat((row[at] ?? '').replaceAll(',', ''))
      if (!Number.isFinite(value)) return []
      const column = head[at] ?? ''
      const labels = row.filter((_, i) => i === 0 || LABEL_COLUMNS.includes(head[i] ?? ''))
      const name = `${suite}: ${title}: ${[...labels, ...(nth === 0 ? [] : [column])].join(', ')}`
      return [{ name, value: COST_COLUMNS.includes(column) ? 1 / value : value }]
    }),
  )
}

/** Finds the ratios of `before` that are worse in `after`, among the suites that both have. */
export function compareReports(before: Report, after: Report): Comparison {
  const now = new Map(ratiosOf(after).map(({ name, value }) => [name, value]))
  const suites = new Set(after.suites.map(({ name }) => name))
  const then = ratiosOf({ ...before, suites: before.suites.filter(({ name }) => suites.has(name)) })
  const changes = then.flatMap(({ name, value }): Change[] => {
    const found = now.get(name)
    return found === undefined ? [] : [{ name, before: value, after: found }]
  })
  const fallen = changes
    .filter((change) => change.after < change.before * (1 - TOLERANCE))
    .sort((a, b) => a.after / a.before - b.after / b.before)
  return { fallen, compared: changes.length, missing: then.map(({ name }) => name).filter((name) => !now.has(name)) }
}
