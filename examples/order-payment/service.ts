/** Starts a service in its environment. The same code serves one process and many. */
import { createService, type Service, type ServiceHealth, type ServiceOptions } from 'concordat/service'
import { keepBoardLine } from './board.ts'
import type { ServiceEnvironment } from './environment.ts'

export interface RunningService {
  /** State for probes, from memory: makes no call to a server. */
  health(): ServiceHealth
  /** Finishes the work in flight and stops. Idempotent. */
  close(): Promise<void>
}

export type StartService = (environment: ServiceEnvironment) => Promise<RunningService>

/** Retry policy of the handlers, long enough to outlast the restart of a database or a lock server. */
export const PATIENT = Object.freeze({
  maxAttempts: 1_000,
  backoff: Object.freeze({ initialMs: 50, factor: 2, maxMs: 1_000 }),
})

const NOTIFY_EVERY_MS = 5

type Own = Pick<ServiceOptions, 'name' | 'bindings' | 'sends' | 'sagas' | 'leads' | 'locks' | 'bus'> & {
  readonly coordinator?: NonNullable<ServiceOptions['parts']>['coordinator']
}

/** Creates a service of this example with the settings of this run. */
export function serviceIn(environment: ServiceEnvironment, { coordinator, ...own }: Own): Service {
  const { sql, schema, listener, transport, instance, logger, leaseMs, relays } = environment
  const notifyEveryMs = listener === undefined ? undefined : NOTIFY_EVERY_MS
  return createService({
    ...own,
    sql,
    schema,
    listener,
    transport,
    instance,
    logger,
    parts: {
      outbox: { partitions: relays, notifyEveryMs },
      relay: { leaseMs },
      coordinator: { ...coordinator, leaseMs },
      elections: { ttlMs: leaseMs },
    },
  })
}

/** Starts the service and its line on the board. On close, `others` close before the service, the last one first. */
export async function start(
  service: Service,
  environment: ServiceEnvironment,
  others: ReadonlyArray<{ close(): Promise<unknown> }> = [],
): Promise<RunningService> {
  await service.start()
  const line = keepBoardLine(environment, service.binder)
  return { health: () => service.health(), close: () => closeAll([service, ...others, line]) }
}

/** Closes parts in the reverse order of their start. A part that fails to close does not keep the others open. */
export async function closeAll(parts: ReadonlyArray<{ close(): Promise<unknown> }>): Promise<void> {
  for (const part of parts.toReversed()) await part.close().catch(() => undefined)
}
