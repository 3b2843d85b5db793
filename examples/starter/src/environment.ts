/** Where the services keep their data and send their messages. */
import { postgresTransport } from 'concordat/binder/postgres'
import { pgClient } from 'concordat/core/pg'
import { embedded } from 'concordat/embedded'
import type { ServiceOptions } from 'concordat/service'
import pg from 'pg'

export interface Environment {
  /** What each service is made with: its database with a schema of its own, and its broker. */
  readonly parts: (service: string) => Pick<ServiceOptions, 'sql' | 'schema' | 'transport' | 'locks'>
  /** After the services. */
  readonly close: () => Promise<void>
}

/**
 * PostgreSQL at `DATABASE_URL` is database and broker (`docker compose up --wait`). Without it both are in this process, on
 * PGlite: in the folder `DATA_DIR`, or in memory.
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
      // The last service that closes its locks closes the database, too.
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
