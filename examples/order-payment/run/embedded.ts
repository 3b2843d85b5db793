/** Runs everything in this process and in one database: `concordat/embedded`. Needs PGlite and no server. */

import type { Logger } from 'concordat/core'
import { embedded } from 'concordat/embedded'
import { memoryStateStore } from 'concordat/memory'
import { closeAll, type RunningService } from '../service.ts'
import { type ServiceName, serviceNames } from '../service-names.ts'
import { SERVICES } from '../services.ts'
import { keepOpen, openDataDirectory } from './data-directory.ts'
import type { InputFiles } from './files.ts'
import type { Stage } from './stage.ts'

const SCHEMAS = { orders: 'orders', payments: 'payments', stock: 'stock', receipts: 'receipts' } as const

export async function embeddedStage(data: string | undefined, files: InputFiles, logger: Logger): Promise<Stage> {
  const { parts, close } = await (data === undefined ? keepOpen(embedded()) : openDataDirectory(data, files))
  const { sql } = parts
  const locks = parts.locks({ service: 'payments', instance: 'payments', logger, telemetry: undefined })
  const cluster = memoryStateStore()
  const running: RunningService[] = []
  const start = async (service: ServiceName): Promise<void> => {
    const openingFile = service === 'payments' ? files.accounts : service === 'stock' ? files.stock : undefined
    running.push(
      await SERVICES[service]({
        sql,
        schema: SCHEMAS[service],
        transport: parts.transport,
        locks,
        cluster,
        logger,
        instance: service,
        openingFile,
        relays: 1,
        // No other process can take over. A new process detects that the old one is gone (`SqlClient.exclusive`).
        leaseMs: 60_000,
      }),
    )
  }
  return {
    title: `one process, PGlite ${data === undefined ? 'in memory' : `in ${data}`}`,
    transport: parts.transport,
    openTransport: async () => parts.transport,
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
      await close()
      return undefined
    },
  }
}
