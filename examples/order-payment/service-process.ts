/**
 * Runs one service in a child process. The parent sends `start` with the addresses, receives `ready`, and sends `stop`
 * at the end. The child exits when the parent is gone.
 */
import { pino } from 'pino'
import type { FromService, StopMessage } from '../support/supervisor.ts'
import { type Addresses, connect } from './run/connect.ts'
import type { ServiceName } from './service-names.ts'
import { LEASE_MS, RELAYS } from './service-process-options.ts'
import { SERVICES } from './services.ts'

/** Messages from the parent. */
export type ToService =
  | {
      readonly type: 'start'
      readonly service: ServiceName
      readonly instance: string
      readonly schema: string
      readonly openingFile: string | undefined
      readonly addresses: Addresses
      readonly logLevel: string
    }
  | StopMessage

process.on('disconnect', () => process.exit(1))
// Ctrl-C reaches every process of the terminal; this process waits for the parent's `stop`.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.once('message', (message) => void run(message as ToService))

async function run(start: ToService): Promise<void> {
  if (start.type !== 'start') process.exit(0)
  const { service, instance, schema, openingFile, addresses } = start
  const logger = pino({ level: start.logLevel, base: { service, instance } }, pino.destination(2))
  const stopped = new Promise<void>((resolve) => {
    process.on('message', (message) => {
      if ((message as ToService).type === 'stop') resolve()
    })
  })
  try {
    const connections = await connect(addresses, instance, logger)
    const { sql, listener, transport, locks, cluster } = connections
    const running = await SERVICES[service]({
      sql,
      listener,
      schema,
      transport,
      locks,
      cluster,
      logger,
      instance,
      openingFile,
      relays: RELAYS,
      leaseMs: LEASE_MS,
    })
    process.send?.({ type: 'ready' } satisfies FromService)
    await stopped
    await running.close()
    await connections.close()
    process.exit(0)
  } catch (error) {
    logger.error({ err: error }, 'service failed')
    process.exit(1)
  }
}
