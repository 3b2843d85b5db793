/**
 * Runs one service in a container. Environment variables name the service and its servers (`settings.ts`). At SIGTERM
 * the service finishes the work in flight.
 *
 * Exit codes: 0 closed in time; 1 could not start, or did not close in time; 2 wrong environment variable.
 */
import { join } from 'node:path'
import { closeOnSignals, type ServiceHealth } from 'concordat/service'
import { pino } from 'pino'
import { connect } from '../run/connect.ts'
import { namesOf } from '../run/sweep.ts'
import type { RunningService } from '../service.ts'
import { LEASE_MS, RELAYS } from '../service-process-options.ts'
import { SERVICES } from '../services.ts'
import { openProbes } from './probes.ts'
import { readSettings, SettingError, type Settings } from './settings.ts'

/** Connections to PostgreSQL, in addition to one for the listener. */
const POOL_SIZE = 10
const OPENING_FILES: Readonly<Record<string, string>> = { payments: 'accounts.json', stock: 'stock.json' }
const STARTING: ServiceHealth = Object.freeze({ status: 'down', live: true, ready: false, parts: {} })

/** Runs until a signal. @param listening called when the signal handlers are installed */
export async function run(listening: () => void): Promise<void> {
  const settings = settingsOrExit()
  const logger = pino({ level: settings.logLevel, base: { service: settings.service, instance: settings.instance } })
  let running: RunningService | undefined
  const starting = start(settings, logger)
  const probes = await openProbes(settings.port, () => running?.health() ?? STARTING)
  let code = 1
  const closing = closeOnSignals({
    after: [
      // A signal during the start waits for the start: a service closes only after it has started.
      async () => (await starting).close(),
      () => probes.close(),
      () => void (code = 0),
    ],
    timeoutMs: settings.closeTimeoutMs,
    exit: false,
    logger,
  })
  listening()
  try {
    running = await starting
  } catch (error) {
    logger.fatal({ err: error }, 'the service cannot start')
    process.exit(1)
  }
  await closing.closed
  process.exit(code)
}

function settingsOrExit(): Settings {
  try {
    return readSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingError)) throw error
    process.stderr.write(`order-payment: ${error.message}\n`)
    process.exit(2)
  }
}

async function start(settings: Settings, logger: pino.Logger): Promise<RunningService> {
  const { service, instance, runId, transport, broker, postgres, redis } = settings
  const { schemas, prefix, lockPrefix, shared } = namesOf(runId)
  const addresses = { transport, broker, postgres, redis, schema: shared, prefix, lockPrefix, poolSize: POOL_SIZE }
  const connections = await connect(addresses, instance, logger)
  const opening = OPENING_FILES[service]
  const running = await SERVICES[service]({
    ...connections,
    schema: schemas[service],
    logger,
    instance,
    openingFile: opening === undefined ? undefined : join(import.meta.dirname, '..', 'data', opening),
    relays: RELAYS,
    leaseMs: LEASE_MS,
  })
  return {
    health: () => running.health(),
    close: async () => {
      await running.close()
      await connections.close()
    },
  }
}
