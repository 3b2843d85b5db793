import type { SqlClient } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'

export interface LogOptions {
  /** The service's own database: where it is the broker's, messages are written with the service's data. */
  readonly transactionsOf?: SqlClient | undefined
  /** A call that takes longer is given up. */
  readonly callMs: number
  readonly leaseMs: number
}

/** PostgreSQL as the broker, with settings that detect a dead member of a group quickly. */
export function postgresLog(connectionString: string, { transactionsOf, callMs, leaseMs }: LogOptions): Transport {
  const limits = { connectionTimeoutMillis: callMs, query_timeout: callMs }
  const pool = new pg.Pool({ connectionString, max: 4, ...limits })
  pool.on('error', () => {})
  const listener = pgListener({ connect: () => new pg.Client({ connectionString, ...limits }) })
  return postgresTransport({ sql: pgClient(pool), transactionsOf, listener, leaseMs })
}
