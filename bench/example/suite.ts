/**
 * The order-payment example: orders per second and what an order costs, of all its processes and all servers, embedded and
 * with one process per service; and what PostgreSQL is asked for on the way.
 */
import type { ServerKind } from '../../test/support/servers/kinds.ts'
import { ServerUnavailable } from '../../test/support/servers/kinds.ts'
import { startServer } from '../../test/support/servers/start.ts'
import { median } from '../compare.ts'
import { cpuUsOfTree } from '../cpu.ts'
import type { SuiteOptions } from '../main.ts'
import { wantedParts } from '../parts.ts'
import { PostgresBed } from '../postgres-bed.ts'
import { number } from '../table.ts'
import { COUNTED, countStatements } from './counts.ts'
import { difference, type ExampleRun, runExample, type Setting } from './run.ts'

type Transport = 'kafka' | 'rabbitmq' | 'postgres'

const BESIDE: Readonly<Record<Transport, readonly ServerKind[]>> = {
  kafka: ['kafka', 'redis'],
  rabbitmq: ['rabbitmq', 'redis'],
  postgres: [],
}
/** The run that is taken off: starting, a few orders, ending. */
const SHORT = 100

export async function exampleSuite(options: SuiteOptions): Promise<void> {
  const wanted = wantedParts(options.only, ['embedded', 'rabbitmq', 'postgres', 'kafka', 'counts'])
  const rows: (readonly string[])[] = []
  if (wanted('embedded')) rows.push(await speed('embedded, one process', { flags: [], servers: {} }, options))
  for (const transport of ['rabbitmq', 'postgres', 'kafka'] as const) {
    if (!wanted(transport)) continue
    await onServers(transport, options, async (setting) => {
      rows.push(await speed(`${transport}, one process per service`, setting, options))
    })
  }
  if (rows.length > 0)
    options.report({ title: `example: ${options.orders} orders, start-up not counted`, head: HEAD, rows })
  for (const transport of ['rabbitmq', 'postgres'] as const) {
    if (!wanted('counts')) continue
    await onServers(transport, options, (setting, bed) => countStatements(transport, setting, bed, options))
  }
}

const HEAD = ['where', 'orders/s', 'CPU ms per order', 'processes', 'PostgreSQL', 'other servers'] as const

async function speed(where: string, setting: Setting, { rounds, orders, progress }: SuiteOptions): Promise<string[]> {
  const runs: ExampleRun[] = []
  for (let round = 0; round < rounds; round++) {
    progress(`example, ${where}, round ${round + 1}`)
    const short = await runExample(setting, SHORT)
    runs.push(difference(await runExample(setting, orders + SHORT), short))
  }
  const medianOf = (pick: (run: ExampleRun) => number): number => median(runs.map(pick))
  const perOrder = (us: (run: ExampleRun) => number): number => medianOf((run) => us(run) / 1_000 / run.orders)
  const serversUs = ({ serverCpuUs }: ExampleRun): number => Object.values(serverCpuUs).reduce((sum, us) => sum + us, 0)
  const postgresUs = ({ serverCpuUs }: ExampleRun): number => serverCpuUs['postgres'] ?? 0
  return [
    where,
    number(medianOf((run) => (run.orders / run.ms) * 1_000)),
    number(perOrder((run) => run.cpuUs + serversUs(run))),
    number(perOrder((run) => run.cpuUs)),
    number(perOrder(postgresUs)),
    number(perOrder((run) => serversUs(run) - postgresUs(run))),
  ]
}

/** Servers that nobody else uses, since their CPU time is part of the result. */
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
