/** Runs the intake and the audit only; the services run in containers. */
import type { Logger } from 'concordat/core'
import type { DistributedOptions } from '../options.ts'
import { connect, openTransport } from './connect.ts'
import { SERVERS } from './distributed.ts'
import type { Stage } from './stage.ts'
import { namesOf } from './sweep.ts'

const POOL_SIZE = 2

/** Connects to the servers of the run. Orders wait in the broker until the services start. */
export async function attachedStage(options: DistributedOptions, logger: Logger): Promise<Stage> {
  const { transport, broker, postgres, redis, runId } = options
  const { schemas, prefix, lockPrefix, shared: schema } = namesOf(runId)
  const addresses = { transport, broker, postgres, redis, prefix, lockPrefix, schema, poolSize: POOL_SIZE }
  const connections = await connect(addresses, 'intake', logger)
  return {
    title: `services that run elsewhere, ${SERVERS[transport]}, run ${runId}`,
    transport: connections.transport,
    openTransport: () => openTransport(addresses, 'operator'),
    cluster: connections.cluster,
    paymentInstances: [],
    sql: connections.sql,
    schemas,
    logger,
    maxUnderWay: 128,
    mayAdmit: () => Number.POSITIVE_INFINITY,
    start: () => Promise.resolve(),
    accompany: () => Promise.resolve(),
    restarts: () => 0,
    killed: [],
    failed: new Promise<never>(() => {}),
    close: async (_clean, lastLook) => {
      await lastLook()
      await connections.close()
      return undefined
    },
  }
}
