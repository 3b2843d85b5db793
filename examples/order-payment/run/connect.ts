/** Connections of one process of a distributed run, opened from plain data that a parent can send to its child. */

import { type Logger, SECOND, type SqlClient, type SqlListener } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { ClusterStore, Transport } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { redisLocks, redisStateStore } from 'concordat/redis'
import pg from 'pg'
import { LEASE_MS } from '../service-process-options.ts'
import { namespaced } from './namespace.ts'

export interface Addresses {
  readonly transport: 'kafka' | 'rabbitmq' | 'postgres'
  readonly broker: string
  readonly postgres: string
  /** URL of Redis; `undefined` with `--transport postgres`. */
  readonly redis: string | undefined
  /** Schema of the message log, the locks and the shared state with `--transport postgres`. */
  readonly schema: string
  /** See `RunNames`. */
  readonly prefix: string
  readonly lockPrefix: string
  /** Database connections per process, in addition to one for the listener. */
  readonly poolSize: number
}

export interface Connections {
  readonly sql: SqlClient
  readonly listener: SqlListener
  readonly transport: Transport
  /** Connects to the lock server at the first lock. */
  readonly locks: Locks
  /** Connects to the store at the first read or write. */
  readonly cluster: ClusterStore
  close(): Promise<void>
}

/** Opens the connections. Loads the driver of this broker only. */
export async function connect(addresses: Addresses, instance: string, logger: Logger): Promise<Connections> {
  const pool = new pg.Pool({
    connectionString: addresses.postgres,
    max: addresses.poolSize,
    application_name: instance,
    // Without these limits a query to a server that vanished or froze waits until TCP times out.
    connectionTimeoutMillis: 10 * SECOND,
    query_timeout: 30 * SECOND,
    keepAlive: true,
  })
  const listener = pgListener({
    connect: () => new pg.Client({ connectionString: addresses.postgres, application_name: instance, keepAlive: true }),
    logger,
  })
  const sql = pgClient(pool, { logger, preparedStatements: true })
  const { locks, cluster } =
    addresses.redis === undefined
      ? await inPostgres(sql, listener, addresses.schema, instance, logger)
      : inRedis(addresses.redis, addresses.lockPrefix, instance, logger)
  return {
    listener,
    sql,
    transport:
      addresses.transport === 'postgres'
        ? postgresTransport({ sql, listener, schema: addresses.schema, leaseMs: LEASE_MS })
        : await openTransport(addresses, instance),
    locks,
    cluster,
    close: async () => {
      await locks.close()
      await cluster.close()
      await listener.close()
      await pool.end()
    },
  }
}

type Shared = Pick<Connections, 'locks' | 'cluster'>

function inRedis(url: string, prefix: string, owner: string, logger: Logger): Shared {
  return {
    locks: redisLocks({ url, prefix, owner, logger }),
    cluster: redisStateStore({ url, prefix: `${prefix}cluster:`, logger }),
  }
}

async function inPostgres(
  sql: SqlClient,
  listener: SqlListener,
  schema: string,
  owner: string,
  logger: Logger,
): Promise<Shared> {
  const locks = postgresLocks({ sql, listener, schema, owner, logger })
  const cluster = postgresStateStore({ sql, listener, schema, logger })
  await locks.migrate()
  await cluster.migrate()
  return { locks, cluster }
}

/** Opens a separate connection to the channels. */
export async function openTransport(addresses: Addresses, instance: string): Promise<Transport> {
  if (addresses.transport !== 'postgres') return namespaced(await openBroker(addresses, instance), addresses.prefix)
  const pool = new pg.Pool({ connectionString: addresses.postgres, max: 2, application_name: instance })
  return endingPool(postgresTransport({ sql: pgClient(pool), schema: addresses.schema }), pool)
}

function endingPool(transport: Transport, pool: pg.Pool): Transport {
  const close = transport.close.bind(transport)
  let closed: Promise<void> | undefined
  transport.close = () => (closed ??= close().then(() => pool.end()))
  return transport
}

async function openBroker({ transport, broker }: Addresses, instance: string): Promise<Transport> {
  if (transport === 'rabbitmq') {
    const { rabbitTransport } = await import('concordat/binder/rabbitmq')
    return rabbitTransport({ url: broker })
  }
  const { kafkaTransport } = await import('concordat/binder/kafka')
  const { Kafka, logLevel } = await import('kafkajs')
  const kafka = new Kafka({
    clientId: instance,
    brokers: broker.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 5_000,
  })
  // Kafka reassigns the partitions of a killed process after this time. 6 s is the broker's minimum.
  return kafkaTransport({ kafka, replicationFactor: 1, sessionTimeoutMs: 6_000 })
}
