/** Functions of a store that the harness needs for an episode. */

import { pgClient } from 'concordat/core/pg'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { Redis } from 'ioredis'
import pg from 'pg'
import { leftovers } from '../../support/locks/postgres-table.ts'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import type { Accepted, Ledgers } from '../harness/sink.ts'
import { orphansIn } from './orphans.ts'
import { portOf } from './stage.ts'

export interface StoreDriver {
  /** A server that workers can begin on. */
  start(
    settings: Readonly<Record<string, string>>,
    env: Readonly<Record<string, string>> | undefined,
  ): Promise<PrivateServer>
  /** The address under which a worker reaches it through a link. */
  readonly address: (port: number) => string
  /** Entries left two ttls after the end, which should have been deleted. */
  orphans(server: PrivateServer, prefix: string): Promise<readonly string[]>
  /** Writes accepted in the store's own server. */
  ledgers(server: PrivateServer, resource: string): Promise<Ledgers>
}

export const redisDriver: StoreDriver = {
  start: (settings, env) => startServer('redis', { settings, ...(env === undefined ? {} : { env }) }),
  address: (port) => `redis://127.0.0.1:${port}`,
  async orphans(server, prefix) {
    const client = new Redis(server.url, { retryStrategy: () => null, maxRetriesPerRequest: 0 })
    client.on('error', () => {})
    try {
      return await orphansIn(client, prefix)
    } finally {
      client.disconnect()
    }
  },
  ledgers: async () => new Map(),
}

/** A rare WAL writer makes a crash of the server lose much. */
const SETTINGS = { fsync: 'off', wal_writer_delay: '10s', autovacuum_naptime: '1s' }

export const postgresDriver: StoreDriver = {
  async start(settings, env) {
    const options = { settings: { ...SETTINGS, ...settings }, ...(env === undefined ? {} : { env }) }
    const server = await startServer('postgres', options)
    try {
      await on(server, async (pool) => {
        const sql = pgClient(pool)
        await postgresLocks({ sql }).migrate()
        await postgresStateStore({ sql }).migrate()
        await sql.query(
          'CREATE TABLE guarded (number bigserial PRIMARY KEY, resource text, token bigint, holding text, write text)',
        )
      })
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  },
  address: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
  orphans: (server) => on(server, (pool) => leftovers(pgClient(pool))),
  ledgers: (server, resource) =>
    on(server, async (pool) => {
      const { rows } = await pool.query<Accepted>(
        'SELECT token::float8 AS token, holding, write FROM guarded WHERE resource = $1 ORDER BY number',
        [resource],
      )
      return new Map([['guarded', rows]] as const)
    }),
}

async function on<T>(server: PrivateServer, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: `${postgresDriver.address(portOf(server))}`, max: 1 })
  pool.on('error', () => {})
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}
