import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import { Bed } from '../bed.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { provideServer } from '../servers.ts'
import { besideKeys, besideParked } from './beside.ts'
import { measureProcesses } from './processes.ts'

type Part = (options: SuiteOptions) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  sagas: (options) =>
    onPostgres(async (postgres) => {
      const url = await postgres.database('sagas')
      const work = {
        what: 'sagas of three steps, 256 at a time in all',
        worker: new URL('../saga/ours-worker.ts', import.meta.url),
        // Twenty connections in all, for processes of one service share its server.
        args: async (processes: number) => [url, String(20 / processes), '256'],
        burst: { atOnce: 256, rampMs: 1_500, countedMs: 3_000, atLeast: 64 },
        serverCpuUs: () => postgres.cpuUs(),
        target: { atLeast: 1.6 },
      }
      await measureProcesses(work, options)
    }),
  messages: (options) =>
    onPostgres(async (postgres) => {
      const work = {
        what: 'messages of 200 bytes on PostgreSQL, sent in 50s and handled, 400 not confirmed at a time',
        worker: new URL('./messages-worker.ts', import.meta.url),
        // A log for each: the processes before were killed, and their partitions would be held until their leases are over.
        args: async (processes: number) => [await postgres.database(`messages_${processes}`)],
        burst: { atOnce: 400, rampMs: 1_500, countedMs: 3_000, atLeast: 0 },
        serverCpuUs: () => postgres.cpuUs(),
      }
      await measureProcesses(work, options)
    }),
  locks: (options) =>
    onRedis(options, async (bed) => {
      const work = {
        what: 'pairs of acquire and release on Redis, 256 at a time in all',
        worker: new URL('./locks-worker.ts', import.meta.url),
        args: async () => [bed.url, bed.prefix, '1000'],
        burst: { atOnce: 256, rampMs: 500, countedMs: 2_000, atLeast: 64 },
        serverCpuUs: () => bed.stats.cpuUs(),
      }
      await measureProcesses(work, options)
    }),
  parked: (options) => onPostgres((postgres) => besideParked(postgres, options)),
  keys: (options) => onRedis(options, (bed) => besideKeys(bed.url, bed.prefix, options)),
}

/** Measures how cost grows with the number of processes and with stored data. This suite has no peer. */
export async function scaleSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, Object.keys(PARTS))
  for (const [name, measure] of Object.entries(PARTS)) {
    if (!wanted(name)) continue
    try {
      await measure(options)
    } catch (error) {
      if (!(error instanceof ServerUnavailable)) throw error
      options.skip(`${name}: ${error.message}`)
    }
  }
}

async function onPostgres(work: (postgres: PostgresBed) => Promise<void>): Promise<void> {
  await using postgres = await PostgresBed.open()
  await work(postgres)
}

async function onRedis(options: SuiteOptions, work: (bed: Bed) => Promise<void>): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const server = await provideServer('redis', stack)
  if ('missing' in server) return options.skip(server.missing)
  await work(stack.use(new Bed(server.address)))
}
