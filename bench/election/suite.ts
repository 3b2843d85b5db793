import { Bed } from '../bed.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { provideServer } from '../servers.ts'
import { measureFailover } from './failover.ts'
import { measureMembers } from './members.ts'
import { measureWatch } from './watch.ts'

const PARTS: Readonly<Record<string, (bed: Bed, options: SuiteOptions) => Promise<void>>> = {
  failover: measureFailover,
  watch: measureWatch,
  members: measureMembers,
}

/** Failover of a leader, watchers of shared state, members of a cluster, all on one Redis. */
export async function electionSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  await using stack = new AsyncDisposableStack()
  const server = await provideServer('redis', stack)
  if ('missing' in server) return options.skip(server.missing)
  const bed = stack.use(new Bed(server.address))
  for (const [name, measure] of Object.entries(PARTS)) {
    if (wanted(name)) await measure(bed, options)
  }
}
