/** Results of a run of benches, as `--report FILE` writes them. */
import { inspect } from 'node:util'
import type { Result } from '../compare.ts'
import type { Table } from '../table.ts'
import { shapeOf } from './shape.ts'

export interface Report {
  readonly format: typeof FORMAT
  /** Versions by name: Node, this package, and the packages that it is measured with. */
  readonly versions: Readonly<Record<string, string>>
  readonly machine: Machine
  readonly suites: readonly SuiteReport[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
}

/** Load averages of one minute: with more than there are cores, rates mean little. */
export interface Load {
  readonly before: number
  readonly after: number
}

export interface SuiteReport {
  readonly name: string
  /** Start of the suite, ISO 8601. */
  readonly at: string
  readonly rounds: number
  readonly tookS: number
  readonly load: Load
  /** Our rate beside that of a peer. */
  readonly results: readonly Result[]
  readonly tables: readonly Table[]
  /** Measurements that were left out, and why. */
  readonly leftOut: readonly string[]
  /** Message of the error that ended the suite; it has the results measured before. */
  readonly failed?: string | undefined
}

export const FORMAT = 2

/**
 * The report with these newly measured suites; other suites of the earlier report stay.
 * @throws Error when it is of another machine, or of other versions of the peers
 */
export function withSuites(before: Report | undefined, now: Report): Report {
  if (before === undefined) return now
  const [then, here] = [before, now].map(({ machine, versions }) =>
    JSON.stringify({ machine, versions: { ...versions, concordat: undefined } }),
  )
  if (then !== here) throw new Error(`it is of ${then}, and this is ${here}: name another file, or delete it`)
  const suites = new Map([...before.suites, ...now.suites].map((suite) => [suite.name, suite]))
  return { ...now, suites: [...suites.values()].toSorted((a, b) => a.name.localeCompare(b.name)) }
}

/** @throws Error that names the file, and says which part of it is wrong */
export function parseReport(text: string, path: string): Report {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (cause) {
    throw new Error(`${path} is no JSON`, { cause })
  }
  const report = given as Partial<Report> | null
  if (typeof report !== 'object' || report === null || !Array.isArray(report.suites))
    throw new Error(`${path} is no report of a bench: it has no suites`)
  if (report.format !== FORMAT)
    throw new Error(
      `${path} has format ${inspect(report.format, { depth: 0 })}, this bench reads ${FORMAT}: make it again`,
    )
  const shape = shapeOf(report)
  if ('mistake' in shape) throw new Error(`${path} is no whole report: ${shape.mistake}. Make it again`)
  return { format: FORMAT, ...shape.checked } as Report
}
