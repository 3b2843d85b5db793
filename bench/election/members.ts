/** Cost of the members' heartbeats, one per second. */
import { createMembership } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import type { Bed } from '../bed.ts'
import type { SuiteOptions } from '../main.ts'
import { lookOn, type Upkeep, upkeepTable } from '../upkeep.ts'

const SIZES = [10, 100] as const
const SECONDS = 5
const DIRECT = ['evalsha', 'eval', 'xread', 'ping'] as const

export async function measureMembers(bed: Bed, options: SuiteOptions): Promise<void> {
  const all: Upkeep[] = []
  for (const size of SIZES) {
    options.progress(`${size} members for ${SECONDS} s`)
    all.push(await cluster(bed, size))
  }
  options.report(upkeepTable('members with a heartbeat of 1 s, all in one process', all))
}

async function cluster(bed: Bed, size: number): Promise<Upkeep> {
  await using stack = new AsyncDisposableStack()
  const store = redisStateStore({ url: bed.url, prefix: `${bed.prefix}members:` })
  stack.defer(() => store.close())
  const members = Array.from({ length: size }, (_, i) =>
    stack.use(createMembership({ store, cluster: `of-${size}`, service: 'bench', instance: `member-${i}` })),
  )
  await Promise.all(members.map((member) => member.join()))
  return await lookOn(bed.stats, `${size} members`, SECONDS, DIRECT)
}
