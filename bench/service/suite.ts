/** Cost of an idle service with every part: its start-up time, and its CPU time and memory from then on. */
import { median } from '../compare.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { Worker } from '../processes.ts'
import { provideServer } from '../servers.ts'
import { number } from '../table.ts'
import { verdict } from '../target.ts'
import { built } from './built.ts'
import type { IdleReport, Order, Server, World } from './idle-reports.ts'

const SERVERS: Readonly<Record<World, readonly Server[]>> = {
  rabbitmq: ['rabbitmq', 'redis'],
  kafka: ['kafka', 'redis'],
  postgres: [],
}
const SIDES = ['nothing', 'drivers', 'service'] as const
const IDLE_MS = 15_000
const START_MS = { atMost: 400 }
const RSS_MB = { atMost: 90 }

type Reported = Omit<Extract<IdleReport, { did: 'ready' }>, 'did'> &
  Omit<Extract<IdleReport, { did: 'idle' }>, 'did'> &
  Omit<Extract<IdleReport, { did: 'closed' }>, 'did'>

export async function serviceSuite(options: SuiteOptions): Promise<void> {
  const worlds = Object.keys(SERVERS) as World[]
  const wanted = wantedParts(options.only, worlds)
  const { progress, rounds } = options
  progress('building the package')
  const program = await built(new URL('idle-worker.ts', import.meta.url))
  await using bed = await PostgresBed.open()
  const rows: string[][] = []
  for (const world of worlds.filter(wanted)) {
    await using stack = new AsyncDisposableStack()
    const addresses: Partial<Record<Server, string>> = { postgres: await bed.database(`idle_${world}`) }
    for (const kind of SERVERS[world]) {
      const server = await provideServer(kind, stack)
      if ('missing' in server) options.skip(server.missing)
      else addresses[kind] = server.address
    }
    if (SERVERS[world].some((kind) => addresses[kind] === undefined)) continue
    for (const side of SIDES) {
      const order = { side, world, addresses, idleMs: IDLE_MS } as Order
      const first = await lived(program, order)
      const all: Reported[] = []
      for (let round = 0; round < rounds; round++) {
        progress(`${world}, ${side}, ${round + 1} of ${rounds}, ${IDLE_MS / 1_000} s`)
        all.push(await lived(program, order))
      }
      rows.push([world, side, ...shown(first, all, side === 'service')])
    }
  }
  const head = ['on', 'who', 'imports', 'first start', 'start', '', 'RSS', '', 'heap', 'CPU', 'close']
  options.report({ title: `an idle process, after ${IDLE_MS / 1_000} s`, head, rows })
}

async function lived(program: URL, order: Order): Promise<Reported> {
  await using worker = new Worker<IdleReport>(program, [JSON.stringify(order)], [])
  const ready = await worker.report('ready')
  const idle = await worker.report('idle')
  const closed = await worker.report('closed')
  return { ...ready, ...idle, ...closed } as unknown as Reported
}

function shown(first: Reported, all: readonly Reported[], hasTargets: boolean): string[] {
  const of = (name: keyof Reported): number => median(all.map((each) => each[name]))
  const [startMs, rssMb] = [of('startMs'), of('rssMb')]
  return [
    `${number(of('importsMs'))} ms`,
    `${number(first.startMs)} ms`,
    `${number(startMs)} ms`,
    hasTargets ? verdict(startMs, START_MS, ' ms') : '-',
    `${number(rssMb)} MB`,
    hasTargets ? verdict(rssMb, RSS_MB, ' MB') : '-',
    `${number(of('heapMb'))} MB`,
    `${number(100 * of('cpu'))} %`,
    `${number(of('closeMs'))} ms`,
  ]
}
