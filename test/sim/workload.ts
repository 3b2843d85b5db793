import type { SimulatedDatabase, SimulationOptions } from '@concordat/simulator'
import type { PGlite } from '@electric-sql/pglite'

/** A system with its work, its invariants, and the mistakes that can be built in around the package. */
export interface Workload {
  readonly about: string
  /** Mistakes by name, with their descriptions. */
  readonly mistakes: Readonly<Record<string, string>>
  /** Names of its databases. */
  readonly databases: readonly string[]
  readonly size: number
  options(setting: Setting): Omit<SimulationOptions, 'seeds' | 'size' | 'faults' | 'replay' | 'onHistory'>
}

export interface Setting {
  readonly databases: ReadonlyMap<string, PGlite>
  /** The name of one of its mistakes; `undefined`: none. */
  readonly broken: string | undefined
}

export function databaseOf({ databases }: Setting, name: string): SimulatedDatabase {
  const pglite = databases.get(name)
  if (pglite === undefined) throw new RangeError(`no database "${name}"`)
  return { pglite }
}
