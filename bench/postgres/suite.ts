import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { measureChaos } from './chaos.ts'
import { measureDisk } from './disk.ts'
import { measureGroups } from './groups.ts'
import { measureLatency } from './latency.ts'
import { measurePglite } from './pglite.ts'
import { measureRates } from './rates.ts'
import { measureSnapshot } from './snapshot.ts'

type Part = (bed: PostgresBed, options: SuiteOptions) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  rates: measureRates,
  groups: measureGroups,
  latency: measureLatency,
  snapshot: measureSnapshot,
  chaos: (_, options) => measureChaos(options),
  pglite: (_, options) => measurePglite(options),
  disk: measureDisk,
}

/** The binder over PostgreSQL alone beside queues that live there, too. */
export async function postgresSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  for (const [name, measure] of Object.entries(PARTS)) {
    if (!wanted(name)) continue
    try {
      await using bed = await PostgresBed.open()
      await measure(bed, options)
    } catch (error) {
      if (!(error instanceof ServerUnavailable)) throw error
      return options.skip(error.message)
    }
  }
}
