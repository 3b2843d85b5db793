/** What a service gets to run with, and what it gives back. The same for one process and for many. */
import type { Binder, Transport } from 'concordat/binder'
import type { Logger, SqlClient, SqlListener } from 'concordat/core'
import type { ClusterStore } from 'concordat/election'
import type { Locks } from 'concordat/locks'
import { createOutbox, createRelay, type Outbox, type Relay } from 'concordat/outbox'

export interface ServiceEnvironment {
  /** The service's database. It touches its own schema only. */
  readonly sql: SqlClient
  readonly schema: string
  /** How long a dead process keeps what it had a lease on, in ms. */
  readonly leaseMs: number
  /** How many relays of one service can share its outbox; one process needs one. */
  readonly relays: number
  /** Wakes the relays of other processes; one process needs none. */
  readonly listener?: SqlListener | undefined
  readonly transport: Transport
  readonly locks: Locks
  /** Where shared state is kept: see `shared-state.ts`. */
  readonly cluster: ClusterStore
  readonly logger: Logger
  /** Unique per process: `payments-2`. */
  readonly instance: string
  /** The file that the service is filled from when it starts for the first time, if it is filled. */
  readonly openingFile?: string | undefined
}

export interface RunningService {
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

/** The service's outbox and what sends it, woken from other processes where there are any. */
export function outboxOf({ sql, schema, relays, listener }: ServiceEnvironment, service: string): Outbox {
  const notifyEveryMs = listener === undefined ? undefined : NOTIFY_EVERY_MS
  return createOutbox({ sql, service, schema, partitions: relays, notifyEveryMs })
}

export function relayOf(environment: ServiceEnvironment, outbox: Outbox, publisher: Binder): Relay {
  const { listener, instance, leaseMs, logger } = environment
  return createRelay({ outbox, publisher, listener, instance, leaseMs, logger })
}

/** Closes parts in the reverse order of their start; one that fails does not keep the others open. */
export async function closeAll(parts: ReadonlyArray<{ close(): Promise<unknown> }>): Promise<void> {
  for (const part of parts.toReversed()) await part.close().catch(() => undefined)
}
