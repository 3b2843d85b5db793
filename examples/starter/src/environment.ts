/** Database and broker of the services. */

import { pgClient } from 'concordat/core/pg'
import { embedded } from 'concordat/embedded'
import { postgresTransport } from 'concordat/postgres'
import type { ServiceOptions } from 'concordat/service'
import pg from 'pg'

export interface Environment {
  /** Returns the options of a service that set its database, its own schema, and its broker. */
  readonly parts: (service: string) => Pick<ServiceOptions, 'sql' | 'schema' | 'transport' | 'locks'>
  /** Call it after the services are closed. */
  readonly close: () => Promise<void>
}

/**
 * Uses the PostgreSQL at `DATABASE_URL` as database and broker (`docker compose up --wait`). Without `DATABASE_URL`,
 * both run in this process on PGlite, and keep their data in the folder `DATA_DIR`, or else in memory.
 */
export function environment(env: NodeJS.ProcessEnv = process.env): Environment {
  const { DATABASE_URL: connectionString, DATA_DIR: dataDir } = env
  if (connectionString === undefined) {
    const database = embedded({ dataDir })
    return {
      parts: (service) => ({
        sql: database.sql,
        schema: service,
        transport: database.transport,
        locks: database.locks,
      }),
      // The database closes when the last service closes its locks.
      close: () => Promise.resolve(),
    }
  }
  const pool = new pg.Pool({ connectionString })
  const sql = pgClient(pool)
  return {
    parts: (service) => ({ sql, schema: service, transport: postgresTransport({ sql }) }),
    close: () => pool.end(),
  }
}
