/** Runs the desk or a bank: `service-process.ts north north-2`. Exits when the parent process is gone. */

import { pgClient, pgListener } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import { createService, type Service } from 'concordat/service'
import pg from 'pg'
import { pino } from 'pino'
import type { FromService, StartMessage, StopMessage } from '../support/supervisor.ts'
import { bankBinding } from './bank.ts'
import type { BankName } from './contracts.ts'
import { SAGAS, work } from './desk.ts'
import type { Kind } from './options.ts'

/** Start message from the parent process. */
export interface TransferStart extends StartMessage {
  readonly service: 'desk' | BankName
  readonly kind: Kind
  /** Starts at 0. */
  readonly index: number
  /** Number of processes of this service. */
  readonly processes: number
  /** URL of the service's own database. */
  readonly database: string
  /** URL of the database that stores the message log. */
  readonly log: string
  readonly logLevel: string
}

/** How long the other processes wait before they take over the work of a killed process. */
const LEASE_MS = 3_000

process.on('disconnect', () => process.exit(1))
// Ctrl-C reaches every process of the terminal. This one ignores it, and stops when the parent sends `stop`.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.once('message', (message) => void run(message as TransferStart | StopMessage))

async function run(start: TransferStart | StopMessage): Promise<void> {
  if (start.type === 'stop') process.exit(0)
  const { service: name, instance, kind, index, processes, database, log, logLevel } = start
  const logger = pino({ level: logLevel, base: { service: name, instance } }, pino.destination(2))
  const stop = new AbortController()
  process.on('message', (message) => {
    if ((message as StopMessage).type === 'stop') stop.abort()
  })
  try {
    const pool = new pg.Pool({ connectionString: database, max: 12, application_name: instance })
    const logPool = new pg.Pool({ connectionString: log, max: 4, application_name: `${instance} log` })
    for (const each of [pool, logPool]) each.on('error', (error) => logger.warn({ err: error }, 'connection lost'))
    const sql = pgClient(pool)
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: log, keepAlive: true }) })
    const service: Service = createService({
      name,
      instance,
      sql,
      transport: postgresTransport({ sql: pgClient(logPool), listener, leaseMs: LEASE_MS }),
      ...(name === 'desk' ? { sagas: SAGAS } : { bindings: [bankBinding(name, kind)] }),
      parts: { coordinator: { leaseMs: LEASE_MS, pollMs: 200 }, relay: { leaseMs: LEASE_MS } },
      logger,
    })
    await service.start()
    await service.ready()
    process.send?.({ type: 'ready' } satisfies FromService)
    const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))
    // A failure of the desk's work ends the process, and the parent starts it again.
    if (name === 'desk') {
      const working = work({ service, sql, kind, index, desks: processes, signal: stop.signal })
      await Promise.race([stopped, working.then(() => stopped)])
    } else await stopped
    await service.close()
    await listener.close()
    await Promise.all([pool.end(), logPool.end()])
    process.exit(0)
  } catch (error) {
    logger.error({ err: error }, 'service failed')
    process.exit(1)
  }
}
