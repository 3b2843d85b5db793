import { startServer } from '../../test/support/servers/start.ts'
import { Bed } from '../bed.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { RedisStats } from '../redis-stats.ts'
import { provideServer } from '../servers.ts'
import type { Target } from '../target.ts'
import { measureCrowd } from './crowd.ts'
import { measureHandOff } from './handoff.ts'
import {
  bareFencedWrite,
  barePermit,
  bareQuorum,
  fencedWrite,
  PERMITS,
  permits,
  quorum,
  readers,
  semaphore,
  sharedSemaphore,
} from './more-sides.ts'
import { measurePairs } from './pairs.ts'
import { forUpdate, inPostgres, rowLease } from './postgres-sides.ts'
import { bare, bareTogether, bareWithToken, concordat, redisSemaphore, redlock } from './sides.ts'
import { measureUpkeep } from './upkeep.ts'

const inAllRows = (): Target => ({ atLeast: 1 })
const asFast = (atOnce: number): Target => ({ atLeast: atOnce === 1 ? 0.95 : 1 })

type Part = (bed: Bed, options: SuiteOptions) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  pairs: (bed, options) =>
    measurePairs(
      bed,
      {
        title: 'acquire and release, a key for each',
        ours: concordat,
        rivals: [
          { make: bare, target: () => ({ atLeast: 0.85 }) },
          { make: bareWithToken },
          { make: bareTogether },
          { make: redlock, target: asFast },
          { make: redisSemaphore, target: asFast },
        ],
        atOnce: [1, 16, 64, 256],
      },
      options,
    ),
  handoff: measureHandOff,
  crowd: measureCrowd,
  modes: async (bed, options) => {
    const permitsCase = { title: `permits (${PERMITS} of each key), a key for each`, ours: permits }
    const rivals = [{ make: semaphore, target: inAllRows }, { make: barePermit }]
    await measurePairs(bed, { ...permitsCase, rivals, atOnce: [1, 16, 64] }, options)
    const beside = [{ make: sharedSemaphore, target: inAllRows }, { make: concordat }]
    await measurePairs(bed, { title: 'readers', ours: readers, rivals: beside, atOnce: [1, 16, 64] }, options)
  },
  fence: (bed, options) =>
    measurePairs(
      bed,
      {
        title: 'fenced writes (a pair is one write)',
        ours: fencedWrite,
        rivals: [{ make: bareFencedWrite }],
        atOnce: [1, 16, 64],
      },
      options,
    ),
  quorum: measureQuorum,
  postgres: measurePostgres,
  upkeep: measureUpkeep,
}

/** Locks beside ioredis by hand and the lock libraries of npm, all on one Redis. */
export async function locksSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  await using stack = new AsyncDisposableStack()
  const server = await provideServer('redis', stack)
  if ('missing' in server) return options.skip(server.missing)
  const bed = stack.use(new Bed(server.address))
  for (const [name, measure] of Object.entries(PARTS)) {
    if (wanted(name)) await measure(bed, options)
  }
}

/** A server of its own, with `fsync`: each grant waits for the disk. */
async function measurePostgres(_bed: Bed, options: SuiteOptions): Promise<void> {
  await using server = await PostgresBed.open()
  const bed = { url: await server.database('locks'), prefix: '', stats: { cpuUs: () => server.cpuUs() } }
  const rivals = [{ make: rowLease }, { make: forUpdate }]
  await measurePairs(
    bed,
    { title: 'acquire and release on PostgreSQL, a key for each', ours: inPostgres, rivals, atOnce: [1, 16, 64] },
    options,
  )
}

/** Measures on three servers of its own: the one in the environment cannot be three. */
async function measureQuorum(bed: Bed, options: SuiteOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const servers = [await startServer('redis'), await startServer('redis'), await startServer('redis')]
  for (const server of servers) stack.use(server)
  const urls = servers.map(({ url }) => url)
  const stats = urls.map((url) => stack.use(new RedisStats(url)))
  await measurePairs(
    bed,
    {
      title: 'acquire and release by a majority of three servers, a key for each',
      ours: quorum(urls),
      rivals: [{ make: bareQuorum(urls), target: inAllRows }, { make: concordat }],
      atOnce: [1, 16, 64],
      cpuUs: async () => {
        const each = await Promise.all([bed.stats, ...stats].map((server) => server.cpuUs()))
        return each.reduce((sum, us) => sum + us, 0)
      },
    },
    options,
  )
}
