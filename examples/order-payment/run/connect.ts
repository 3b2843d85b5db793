/** The connections of one process of a distributed run. Plain data in, so that it can be sent to a child process. */

import type { Transport } from 'concordat/binder/transport'
import { redisStateStore } from 'concordat/cluster/redis'
import type { ClusterStore } from 'concordat/cluster/store'
import { type Logger, SECOND, type SqlClient, type SqlListener } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/locks/redis'
import pg from 'pg'
import { namespaced } from './namespace.ts'

export interface Addresses {
  readonly transport: 'kafka' | 'rabbitmq'
  readonly broker: string
  readonly postgres: string
  readonly redis: string
  /** See `RunNames`. */
  readonly prefix: string
  readonly lockPrefix: string
  /** Database connections per process, beside one that listens. */
  readonly poolSize: number
}

export interface Connections {
  readonly sql: SqlClient
  readonly listener: SqlListener
  readonly transport: Transport
  /** Opens its connections when the first lock is asked for. */
  readonly locks: Locks
  /** The same. */
  readonly cluster: ClusterStore
  close(): Promise<void>
}

/** Loads the driver of this broker only. */
export async function connect(addresses: Addresses, instance: string, logger: Logger): Promise<Connections> {
  const pool = new pg.Pool({
    connectionString: addresses.postgres,
    max: addresses.poolSize,
    application_name: instance,
    // Without time limits a server that vanished, or froze, is waited for until TCP gives up.
    connectionTimeoutMillis: 10 * SECOND,
    query_timeout: 30 * SECOND,
    keepAlive: true,
  })
  const locks = redisLocks({ url: addresses.redis, prefix: addresses.lockPrefix, owner: instance, logger })
  const cluster = redisStateStore({ url: addresses.redis, prefix: `${addresses.lockPrefix}cluster:`, logger })
  const listener = pgListener({
    connect: () => new pg.Client({ connectionString: addresses.postgres, application_name: instance, keepAlive: true }),
    logger,
  })
  return {
    listener,
    sql: pgClient(pool, { logger }),
    transport: await openTransport(addresses, instance),
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

export async function openTransport(addresses: Addresses, instance: string): Promise<Transport> {
  return namespaced(await openBroker(addresses, instance), addresses.prefix)
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
  // How long the broker waits for a killed process before it gives its partitions to another: its own minimum.
  return kafkaTransport({ kafka, replicationFactor: 1, sessionTimeoutMs: 6_000 })
}
