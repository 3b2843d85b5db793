import { SimulationFailed, simulate } from '@concordat/simulator'
import type { Databases } from './databases.ts'
import type { SimOptions } from './sim-options.ts'
import type { Workload } from './workload.ts'
import { WORKLOADS } from './workloads.ts'

const COLUMN = 26

/** Evidence of a mistake. */
export interface Found {
  /** Number of seeds played until it was found. */
  readonly seeds: number
  readonly invariant: string
  readonly faults: number
  readonly isRepeatable: boolean
}

/** Plays a workload, with a mistake built in if one is named, until an invariant does not hold. @returns undefined when all held */
export async function find(
  workload: Workload,
  broken: string | undefined,
  { from, count }: Pick<SimOptions, 'from' | 'count'>,
  databases: Awaited<ReturnType<Databases['of']>>,
): Promise<Found | undefined> {
  try {
    const options = workload.options({ databases, broken })
    await simulate({ ...options, seeds: { from, count }, size: workload.size, shorten: false })
    return undefined
  } catch (error) {
    if (!(error instanceof SimulationFailed)) throw error
    const { seed, invariant, drawnFaults, isRepeatable } = error
    return { seeds: seed - from + 1, invariant, faults: drawnFaults, isRepeatable }
  }
}

/** Each mistake of each workload. @returns the exit code: 1 when one was not found */
export async function playMistakes(options: SimOptions, databases: Databases): Promise<number> {
  let missed = 0
  for (const name of options.workloads) {
    const workload = WORKLOADS[name] as Workload
    for (const broken of Object.keys(workload.mistakes)) {
      const found = await find(workload, broken, options, await databases.of(name, workload))
      if (found === undefined) missed++
      const told =
        found === undefined
          ? `NOT FOUND in ${options.count} seeds`
          : `seed ${found.seeds}: ${found.invariant}${found.isRepeatable ? '' : ', NOT THE SAME TWICE'}`
      console.log(`${name.padEnd(COLUMN)}${broken.padEnd(COLUMN)} ${told}`)
    }
  }
  return missed === 0 ? 0 : 1
}
