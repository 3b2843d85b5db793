/** Everything in this process: the memory transport, memory locks and PGlite. Nothing to install. */
import { PGlite } from '@electric-sql/pglite'
import { memoryBroker, memoryTransport } from 'concordat/binder/memory'
import { memoryStateStore } from 'concordat/cluster/memory'
import type { Logger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryLocks } from 'concordat/locks/memory'
import { closeAll, type RunningService } from '../service.ts'
import { type ServiceName, serviceNames } from '../service-names.ts'
import { SERVICES } from '../services.ts'
import { type DataDirectory, openDataDirectory } from './data-directory.ts'
import type { InputFiles } from './files.ts'
import type { Stage } from './stage.ts'

const SCHEMAS = { orders: 'orders', payments: 'payments', stock: 'stock', receipts: 'receipts' } as const

export async function embeddedStage(data: string | undefined, files: InputFiles, logger: Logger): Promise<Stage> {
  const directory = await (data === undefined ? inMemory() : openDataDirectory(data, files))
  const sql = pgliteClient(directory.database)
  const broker = memoryBroker()
  const locks = memoryLocks({ logger })
  const cluster = memoryStateStore()
  const running: RunningService[] = []
  const start = async (service: ServiceName): Promise<void> => {
    const openingFile = service === 'payments' ? files.accounts : service === 'stock' ? files.stock : undefined
    const transport = memoryTransport({ broker })
    running.push(
      await SERVICES[service]({
        sql,
        schema: SCHEMAS[service],
        transport,
        locks,
        cluster,
        logger,
        instance: service,
        openingFile,
        relays: 1,
        // Nobody else is there to take over; a new process finds that the old one is gone (`SqlClient.exclusive`).
        leaseMs: 60_000,
      }),
    )
  }
  return {
    title: `one process, memory transport, PGlite ${data === undefined ? 'in memory' : `in ${data}`}`,
    transport: memoryTransport({ broker }),
    openTransport: async () => memoryTransport({ broker }),
    cluster,
    paymentInstances: ['payments'],
    sql,
    schemas: SCHEMAS,
    logger,
    maxUnderWay: 64,
    mayAdmit: () => Number.POSITIVE_INFINITY,
    start: async () => {
      for (const service of serviceNames) await start(service)
    },
    accompany: () => Promise.resolve(),
    restarts: () => 0,
    killed: [],
    failed: new Promise<never>(() => {}),
    close: async (_clean, lastLook) => {
      await closeAll(running)
      await lastLook()
      await locks.close()
      await cluster.close()
      await directory.close()
      return undefined
    },
  }
}

async function inMemory(): Promise<DataDirectory> {
  const database = await PGlite.create()
  return { database, close: () => database.close() }
}
