/** Surroundings of `shop.ts`: memory and PGlite, or the servers whose addresses are in the environment. */

import type { SqlClient } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { memoryLocks, memoryTransport } from 'concordat/memory'

export interface Place {
  readonly sql: SqlClient
  readonly transport: Transport
  readonly locks: Locks
  /** Closes the database, which the service does not close. */
  readonly end: () => Promise<void>
}

const address = (name: string): string => process.env[name] ?? ''

export async function place(): Promise<Place> {
  switch (process.env['PLACE']) {
    case 'kafka': {
      const { kafkaTransport } = await import('concordat/binder/kafka')
      const { redisLocks } = await import('concordat/redis')
      const { Kafka } = await import('kafkajs')
      const kafka = new Kafka({ brokers: address('KAFKA_BROKERS').split(','), logLevel: 0 })
      const locks = redisLocks({ url: address('REDIS_URL'), prefix: address('PREFIX') })
      return { ...(await database()), transport: kafkaTransport({ kafka }), locks }
    }
    case 'rabbitmq': {
      const { rabbitTransport } = await import('concordat/binder/rabbitmq')
      const { redisLocks } = await import('concordat/redis')
      const locks = redisLocks({ url: address('REDIS_URL'), prefix: address('PREFIX') })
      return { ...(await database()), transport: rabbitTransport({ url: address('RABBITMQ_URL') }), locks }
    }
    case 'postgres': {
      const { postgresTransport } = await import('concordat/postgres')
      const { postgresLocks } = await import('concordat/postgres')
      const base = await database()
      return { ...base, transport: postgresTransport({ sql: base.sql }), locks: postgresLocks({ sql: base.sql }) }
    }
    default: {
      const { PGlite } = await import('@electric-sql/pglite')
      const { pgliteClient } = await import('concordat/core/pglite')
      const pglite = new PGlite()
      const end = (): Promise<void> => pglite.close()
      return { sql: pgliteClient(pglite), transport: memoryTransport(), locks: memoryLocks(), end }
    }
  }
}

async function database(): Promise<Pick<Place, 'sql' | 'end'>> {
  const { pgClient } = await import('concordat/core/pg')
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString: address('POSTGRES_URL') })
  return { sql: pgClient(pool), end: () => pool.end() }
}
