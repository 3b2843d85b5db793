/** Sides that run the three steps: a process each, all on the same machine; those on PostgreSQL share a server. */
import { cpuUsOfTree } from '../cpu.ts'
import { PeerUnavailable, providePeer } from '../peers.ts'
import type { PostgresBed, PostgresCounters } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import type { Burst, Ran, SideReport } from '../serve.ts'
import { startRestate } from './restate-server.ts'

/** Connections to PostgreSQL of each side that has some. */
export const CONNECTIONS = '20'
/** Chains in flight, the same number as sagas. */
export const CONCURRENCY = '256'
export const DBOS = { '@dbos-inc/dbos-sdk': '5.3.0' } as const
export const RESTATE = { '@restatedev/restate-sdk': '1.17.2', '@restatedev/restate-server': '1.7.12' } as const

export interface Side {
  readonly name: string
  run(burst: Burst): Promise<Ran>
  /** CPU time of the server that makes it durable. */
  serverCpuUs(): number
  /** Absent where the server keeps no such counters. */
  counters?(): Promise<PostgresCounters>
}

export interface Bed {
  readonly postgres: PostgresBed
  readonly stack: AsyncDisposableStack
  readonly progress: (what: string) => void
}

export async function ourSide({ postgres, stack }: Bed): Promise<Side> {
  const url = await postgres.database('ours')
  const worker = await started(stack, './ours-worker.ts', [url, CONNECTIONS, CONCURRENCY])
  return { name: 'concordat', run: (burst) => ranBy(worker, burst), ...countedOn(postgres, ['ours']) }
}

/** @throws PeerUnavailable */
export async function dbosSide({ postgres, stack, progress }: Bed): Promise<Side> {
  const packages = await providePeer('dbos', DBOS, progress)
  const url = await postgres.database('dbos')
  const worker = await started(stack, './dbos-worker.ts', [packages, url, CONNECTIONS])
  const name = `DBOS ${DBOS['@dbos-inc/dbos-sdk']}`
  return { name, run: (burst) => ranBy(worker, burst), ...countedOn(postgres, ['dbos']) }
}

/** @throws PeerUnavailable */
export async function restateSide({ stack, progress }: Bed): Promise<Side> {
  const packages = await providePeer('restate', RESTATE, progress)
  const server = stack.use(await startRestate(packages))
  const worker = await started(stack, './restate-worker.ts', [packages, server.admin, server.ingress])
  return {
    name: `Restate ${RESTATE['@restatedev/restate-server']}`,
    run: (burst) => ranBy(worker, burst),
    serverCpuUs: () => cpuUsOfTree(server.pid),
  }
}

/**
 * Measures a side whose durable state is in these databases of one server; CPU and WAL are those of the whole server.
 */
export function countedOn(
  postgres: PostgresBed,
  databases: readonly string[],
): Pick<Side, 'serverCpuUs'> & Required<Pick<Side, 'counters'>> {
  return {
    serverCpuUs: () => postgres.cpuUs(),
    counters: async () => {
      const each = await Promise.all(databases.map((database) => postgres.counters(database)))
      const sum = (of: 'commits' | 'rows'): number => each.reduce((total, counters) => total + counters[of], 0)
      return { commits: sum('commits'), rows: sum('rows'), walBytes: each[0]?.walBytes ?? Number.NaN }
    },
  }
}

/** @throws PeerUnavailable when it ends before it is ready */
export async function started(
  stack: AsyncDisposableStack,
  file: string,
  args: readonly string[],
): Promise<Worker<SideReport>> {
  const worker = stack.use(new Worker<SideReport>(new URL(file, import.meta.url), args))
  try {
    await worker.report('ready')
  } catch (cause) {
    throw new PeerUnavailable(`${file} did not get ready; its own words are above`, { cause })
  }
  return worker
}

export async function ranBy(worker: Worker<SideReport>, burst: Burst): Promise<Ran> {
  worker.tell(burst)
  const { ran } = await worker.report('ran')
  if (ran === undefined) throw new Error('a worker reported that it ran, and not what')
  return ran
}
