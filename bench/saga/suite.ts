import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { measureParked } from './parked.ts'
import { measureParticipants } from './participants.ts'
import { measureSpeed } from './speed.ts'

type Part = (postgres: PostgresBed, options: SuiteOptions) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  speed: measureSpeed,
  participants: measureParticipants,
  parked: measureParked,
}

/** Sagas beside DBOS on the same PostgreSQL and beside Restate, and the cost of a hundred thousand waiting ones. */
export async function sagaSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  for (const [name, measure] of Object.entries(PARTS)) {
    if (!wanted(name)) continue
    try {
      await using postgres = await PostgresBed.open()
      await measure(postgres, options)
    } catch (error) {
      if (!(error instanceof ServerUnavailable)) throw error
      return options.skip(error.message)
    }
  }
}
