import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { measureAdd } from './add.ts'
import { Bed } from './bed.ts'
import { measureGrowth } from './growth.ts'
import { measureIdle } from './idle.ts'
import { measureInbox } from './inbox.ts'
import { measureRelay } from './relay.ts'

type Part = (bed: Bed, options: SuiteOptions) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  relay: measureRelay,
  add: measureAdd,
  inbox: measureInbox,
  growth: measureGrowth,
  idle: measureIdle,
}

/**
 * Rate of the relay, cost of `add` for a business transaction, table size after a million messages, and statements of
 * an idle service.
 */
export async function outboxSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  try {
    await using postgres = await PostgresBed.open()
    await using bed = await Bed.open(postgres)
    for (const [name, measure] of Object.entries(PARTS)) {
      if (wanted(name)) await measure(bed, options)
    }
  } catch (error) {
    if (!(error instanceof ServerUnavailable)) throw error
    options.skip(error.message)
  }
}
