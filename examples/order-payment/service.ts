/** What a service gets to run with, and what it gives back. The same for one process and for many. */
import { createService, type Service, type ServiceHealth, type ServiceOptions } from 'concordat/service'
import { keepBoardLine } from './board.ts'
import type { ServiceEnvironment } from './environment.ts'

export interface RunningService {
  /** For probes; asks nobody. */
  health(): ServiceHealth
  /** Finishes what it has in hand and leaves. Idempotent. */
  close(): Promise<void>
}

export type StartService = (environment: ServiceEnvironment) => Promise<RunningService>

/** How patiently a handler is repeated: a database or a lock server that is away comes back. */
export const PATIENT = Object.freeze({
  maxAttempts: 1_000,
  backoff: Object.freeze({ initialMs: 50, factor: 2, maxMs: 1_000 }),
})

const NOTIFY_EVERY_MS = 5

type Own = Pick<ServiceOptions, 'name' | 'bindings' | 'sends' | 'sagas' | 'leads' | 'locks' | 'bus'> & {
  readonly coordinator?: NonNullable<ServiceOptions['parts']>['coordinator']
}

/** A service of this example, in the environment of this run. */
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

/** Starts it, with its line on the board. What else is given closes first, last one first. */
export async function start(
  service: Service,
  environment: ServiceEnvironment,
  others: ReadonlyArray<{ close(): Promise<unknown> }> = [],
): Promise<RunningService> {
  await service.start()
  const line = keepBoardLine(environment, service.binder)
  return { health: () => service.health(), close: () => closeAll([service, ...others, line]) }
}

/** Closes parts in the reverse order of their start; one that fails does not keep the others open. */
export async function closeAll(parts: ReadonlyArray<{ close(): Promise<unknown> }>): Promise<void> {
  for (const part of parts.toReversed()) await part.close().catch(() => undefined)
}
