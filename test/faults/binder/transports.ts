import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { HOUR, type SqlClient, type SqlTransaction } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { type PostgresTransport, postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { withMistake } from './broken.ts'
import type { Post } from './place.ts'
import { HEARTBEAT_S, REBALANCE_MS, SEGMENT_BYTES, SEGMENT_MS, SEND_TIMEOUT_MS, SESSION_MS } from './settings.ts'

/** Connections that a process sends and receives with. */
export interface Opened {
  readonly transport: Transport
  /** Log for sends that are part of a transaction. */
  readonly log?: {
    readonly sql: SqlClient
    /** Client of handlers that settle in their transactions. */
    readonly transactionsOf: SqlClient
    readonly transport: PostgresTransport
  }
}

/** A transport that reaches its broker through the link of this process alone. */
/** @param beforeCommit called in each transaction of a handler, as the last thing in it */
export function openTransport(
  { transport, port, name, broken }: Post,
  beforeCommit: (tx: SqlTransaction) => Promise<void>,
): Opened {
  if (transport === 'kafka') return { transport: withMistake(openKafka(port, name), broken) }
  if (transport === 'rabbitmq') return { transport: withMistake(openRabbit(port), broken) }
  const log = openPostgres(port, transport === 'postgres', broken, beforeCommit)
  return { transport: withMistake(log.transport, broken), log }
}

/** Segments are small and kept for no time at all, so that the ring turns all the while. */
function openPostgres(
  port: number,
  listens: boolean,
  broken: string | undefined,
  beforeCommit: (tx: SqlTransaction) => Promise<void>,
): Required<Opened>['log'] {
  const connectionString = `postgres://postgres@127.0.0.1:${port}/postgres`
  // A process that never expires its session also waits without limit: requests from before it was stopped are answered
  // when it resumes.
  const isPatient = broken === 'acks-unfenced'
  const requestTimeoutMs = isPatient ? HOUR : SEND_TIMEOUT_MS
  const limits = { connectionTimeoutMillis: requestTimeoutMs, query_timeout: requestTimeoutMs }
  const sql = pgClient(new pg.Pool({ connectionString, max: 10, ...limits }))
  const own = pgClient(new pg.Pool({ connectionString, max: 6, ...limits }))
  const transactionsOf: SqlClient = {
    ...own,
    transaction: (work, limits) =>
      own.transaction(async (tx) => {
        const made = await work(tx)
        await beforeCommit(tx)
        return made
      }, limits),
  }
  // A pool in transaction mode has no connection that can listen.
  const listener = listens ? pgListener({ connect: () => new pg.Client({ connectionString, ...limits }) }) : undefined
  const ring = { segmentBytes: SEGMENT_BYTES, segmentMs: SEGMENT_MS, retentionMs: 0 }
  const leaseMs = isPatient ? HOUR : SESSION_MS
  const times = { leaseMs, rebalanceTimeoutMs: REBALANCE_MS, requestTimeoutMs }
  return { sql, transactionsOf, transport: postgresTransport({ sql, transactionsOf, listener, ...times, ...ring }) }
}

function openRabbit(port: number): Transport {
  const url = `amqp://guest:guest@127.0.0.1:${port}?heartbeat=${HEARTBEAT_S}`
  return rabbitTransport({ url, rebalanceMs: 300 })
}

/** A broker names its own address, which would lead around the link. */
function openKafka(port: number, clientId: string): Transport {
  const times = { sessionTimeoutMs: SESSION_MS, heartbeatIntervalMs: 500, rebalanceTimeoutMs: REBALANCE_MS }
  return kafkaOn(`127.0.0.1:${port}`, { ...times, delayDiscoveryMs: 1_000 }, { clientId, port })
}
