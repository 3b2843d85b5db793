/**
 * The order-payment example: orders per second and the cost of an order, of all its processes and all servers, embedded
 * and with one process per service; and the statements that it sends to PostgreSQL.
 */
import type { ServerKind } from '../../test/support/servers/kinds.ts'
import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import { startServer } from '../../test/support/servers/start.ts'
import { median } from '../compare.ts'
import { cpuUsOfTree } from '../cpu.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PeerUnavailable } from '../peers.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { number, type Table } from '../table.ts'
import { type Target, verdict } from '../target.ts'
import { COUNTED, countStatements } from './counts.ts'
import { DBOS, runDbos } from './dbos.ts'
import { DBOS_SERVICES, runDbosServices } from './dbos-services.ts'
import { difference, type ExampleRun, runExample, type Setting } from './run.ts'
import { runSteps, STEPS } from './steps.ts'

type Transport = 'kafka' | 'rabbitmq' | 'postgres'

const BESIDE: Readonly<Record<Transport, readonly ServerKind[]>> = {
  kafka: ['kafka', 'redis'],
  rabbitmq: ['rabbitmq', 'redis'],
  postgres: [],
}
const PARTS = ['embedded', 'rabbitmq', 'postgres', 'kafka', 'steps', 'dbos', 'dbos-services', 'counts']
/** The run that is taken off: starting, a few orders, ending. */
const SHORT = 100

export async function exampleSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, PARTS)
  const sides: Side[] = []
  if (wanted('embedded')) sides.push(await speed('embedded, one process', { flags: [], servers: {} }, options))
  for (const transport of ['rabbitmq', 'postgres', 'kafka'] as const) {
    if (!wanted(transport)) continue
    await onServers(transport, options, async (setting) => {
      sides.push(await speed(`${transport}, one process per service`, setting, options))
    })
  }
  if (wanted('steps')) sides.push(...(await placedBy(runSteps, STEPS, 'steps', options)))
  if (wanted('dbos')) sides.push(...(await placedBy(runDbos, DBOS, 'dbos', options)))
  if (wanted('dbos-services')) sides.push(...(await placedBy(runDbosServices, DBOS_SERVICES, 'dbos_services', options)))
  if (sides.length > 0) options.report(tableOf(sides, options))
  for (const transport of ['rabbitmq', 'postgres'] as const) {
    if (!wanted('counts')) continue
    await onServers(transport, options, (setting, bed) => countStatements(transport, setting, bed, options))
  }
}

/** A way to run the example, with its rounds. */
interface Side {
  readonly where: string
  readonly runs: readonly ExampleRun[]
}

/** Measures a peer of the example on a server of the same kind. */
async function placedBy(
  run: (bed: PostgresBed, database: string, options: SuiteOptions) => Promise<ExampleRun>,
  where: string,
  database: string,
  options: SuiteOptions,
): Promise<readonly Side[]> {
  try {
    await using bed = await PostgresBed.open()
    const runs: ExampleRun[] = []
    for (let round = 0; round < options.rounds; round++) {
      options.progress(`example, ${where}, round ${round + 1}`)
      runs.push(await run(bed, `${database}_${round}`, options))
    }
    return [{ where, runs }]
  } catch (error) {
    if (!(error instanceof ServerUnavailable || error instanceof PeerUnavailable)) throw error
    options.skip(`${where}: ${error.message}`)
    return []
  }
}

/** Each target is beside its ratio. */
const HEAD = [
  'where',
  'orders/s',
  'CPU ms per order',
  'processes',
  'PostgreSQL',
  'other servers',
  'of DBOS',
  'target',
  'of DBOS services',
  'target',
] as const
const ON_POSTGRES = 'postgres, one process per service'
/** Targets in orders per second for the sides without a broker. */
const TARGETS: Readonly<Record<string, Target>> = { [ON_POSTGRES]: { atLeast: 3 }, [STEPS]: { atLeast: 3 } }
const SERVICES_TARGETS: Readonly<Record<string, Target>> = { [ON_POSTGRES]: { atLeast: 3 } }

function tableOf(sides: readonly Side[], { orders }: SuiteOptions): Table {
  const rateOf = ({ runs }: Side): number => median(runs.map((run) => (run.orders / run.ms) * 1_000))
  const beside = (side: Side, peer: Side | undefined, target: Target | undefined): string[] => {
    if (peer === undefined || side === peer) return ['-', '-']
    const ratio = rateOf(side) / rateOf(peer)
    return [ratio.toFixed(2), verdict(ratio, target)]
  }
  const inOne = sides.find(({ where }) => where === DBOS)
  const inFour = sides.find(({ where }) => where === DBOS_SERVICES)
  const rows = sides.map((side) => [
    side.where,
    number(rateOf(side)),
    ...costOf(side),
    ...beside(side, inOne, TARGETS[side.where]),
    ...beside(side, isOfServices(side) ? inFour : undefined, SERVICES_TARGETS[side.where]),
  ])
  return { title: `example: ${orders} orders, start-up not counted`, head: HEAD, rows }
}

/** Whether the side runs one process per service; only these sides do the services' work. */
function isOfServices({ where }: Side): boolean {
  return where.endsWith(', one process per service')
}

function costOf({ runs }: Side): string[] {
  const perOrder = (us: (run: ExampleRun) => number): string =>
    number(median(runs.map((run) => us(run) / 1_000 / run.orders)))
  const serversUs = ({ serverCpuUs }: ExampleRun): number => Object.values(serverCpuUs).reduce((sum, us) => sum + us, 0)
  const postgresUs = ({ serverCpuUs }: ExampleRun): number => serverCpuUs['postgres'] ?? 0
  return [
    perOrder((run) => run.cpuUs + serversUs(run)),
    perOrder((run) => run.cpuUs),
    perOrder(postgresUs),
    perOrder((run) => serversUs(run) - postgresUs(run)),
  ]
}

async function speed(where: string, setting: Setting, { rounds, orders, progress }: SuiteOptions): Promise<Side> {
  const runs: ExampleRun[] = []
  for (let round = 0; round < rounds; round++) {
    progress(`example, ${where}, round ${round + 1}`)
    const short = await runExample(setting, SHORT)
    runs.push(difference(await runExample(setting, orders + SHORT), short))
  }
  return { where, runs }
}

/** Private servers, since their CPU time is part of the result. */
async function onServers(
  transport: Transport,
  options: SuiteOptions,
  measure: (setting: Setting, bed: PostgresBed) => Promise<void>,
): Promise<void> {
  try {
    await using stack = new AsyncDisposableStack()
    const bed = stack.use(await PostgresBed.open(COUNTED))
    const flags = ['--transport', transport, '--postgres', await bed.database('example')]
    const servers: Record<string, () => number> = { postgres: () => bed.cpuUs() }
    for (const kind of BESIDE[transport]) {
      const server = stack.use(await startServer(kind))
      flags.push(`--${kind}`, server.url)
      servers[kind] = () => cpuUsOfTree(server.pid)
    }
    await measure({ flags, servers }, bed)
  } catch (error) {
    if (!(error instanceof ServerUnavailable)) throw error
    options.skip(error.message)
  }
}
