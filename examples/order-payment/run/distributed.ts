/** Runs each service in its own processes, on the servers of `SERVERS`, and kills some of them during the run. */
import { join } from 'node:path'
import type { Logger } from 'concordat/core'
import { Supervisor } from '../../support/supervisor.ts'
import type { DistributedOptions } from '../options.ts'
import { serviceNames } from '../service-names.ts'
import type { ToService } from '../service-process.ts'
import { connect, openTransport } from './connect.ts'
import type { InputFiles } from './files.ts'
import { type PlannedKill, planKills } from './kill-plan.ts'
import { poolSize } from './servers.ts'
import type { Stage } from './stage.ts'
import { namesOf, type RunNames, sweep } from './sweep.ts'

export const SERVERS = {
  kafka: 'Kafka, PostgreSQL, Redis',
  rabbitmq: 'RabbitMQ, PostgreSQL, Redis',
  postgres: 'PostgreSQL alone',
} as const

type StartMessage = Extract<ToService, { type: 'start' }>

/** Prepares the run. @param orders number of expected orders, over which the plan spreads the kills */
export async function distributedStage(
  options: DistributedOptions & { readonly logLevel: string },
  files: InputFiles,
  orders: number,
  logger: Logger,
): Promise<Stage> {
  const names = namesOf(options.runId)
  const { transport, broker, postgres, redis, processes, kill, seed } = options
  const { prefix, lockPrefix, shared: schema } = names
  const addresses = { transport, broker, postgres, redis, prefix, lockPrefix, schema, poolSize: poolSize(processes) }
  const supervisor = new Supervisor(
    join(import.meta.dirname, '..', 'service-process.ts'),
    startMessages(options, files, names, addresses),
  )
  const connections = await connect({ ...addresses, poolSize: 2 }, 'intake', logger)
  const killed: string[] = []
  const plan = [...planKills({ kills: kill, seed, orders, services: serviceNames, processes })]
  return {
    title: `${serviceNames.length} services x ${processes} processes, ${SERVERS[transport]}, run ${options.runId}`,
    transport: connections.transport,
    openTransport: () => openTransport(addresses, 'operator'),
    cluster: connections.cluster,
    paymentInstances: indexesOf(processes).map((index) => instanceOf({ service: 'payments', index })),
    sql: connections.sql,
    schemas: names.schemas,
    logger,
    maxUnderWay: 128,
    mayAdmit: () => (plan[0] === undefined ? Number.POSITIVE_INFINITY : plan[0].at + 1),
    start: () => supervisor.start(),
    accompany: async (intake, signal) => {
      for (let next = plan[0]; next !== undefined && !signal.aborted; next = plan[0]) {
        await intake.admitted(next.at, signal)
        killed.push(instanceOf(next))
        const replaced = supervisor.kill(instanceOf(next))
        plan.shift()
        intake.poke()
        await replaced
      }
    },
    restarts: () => supervisor.restarts,
    killed,
    failed: supervisor.failed,
    close: async (clean, lastLook) => {
      await supervisor.stop()
      await lastLook()
      await connections.close()
      if (clean && !options.keep) return cleanUp(options, names)
      return leftBehind(options, names)
    },
  }
}

async function cleanUp(options: DistributedOptions, names: RunNames): Promise<string | undefined> {
  try {
    await sweep(options, names)
    return undefined
  } catch (error) {
    return `${leftBehind(options, names)} Cleaning up failed: ${String(error)}`
  }
}

function leftBehind({ runId }: DistributedOptions, { schemas }: RunNames): string {
  return `Not removed: schemas ${Object.values(schemas).join(', ')}; topics, queues and locks of run ${runId}. Resume with --run-id ${runId}.`
}

function instanceOf({ service, index }: Pick<PlannedKill, 'service' | 'index'>): string {
  return `${service}-${index}`
}

function indexesOf(processes: number): readonly number[] {
  return Array.from({ length: processes }, (_, i) => i + 1)
}

function startMessages(
  { processes, logLevel }: DistributedOptions & { readonly logLevel: string },
  files: InputFiles,
  { schemas }: RunNames,
  addresses: StartMessage['addresses'],
): readonly StartMessage[] {
  return serviceNames.flatMap((service) =>
    indexesOf(processes).map((index) => ({
      type: 'start' as const,
      service,
      instance: instanceOf({ service, index }),
      schema: schemas[service],
      openingFile: service === 'payments' ? files.accounts : service === 'stock' ? files.stock : undefined,
      addresses,
      logLevel,
    })),
  )
}
