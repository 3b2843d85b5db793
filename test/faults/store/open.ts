/** The stores as a worker opens them, by their address: the same in the harness and in its workers. */

import type { SqlClient } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { ClusterStore } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { type PostgresLocks, postgresLocks, postgresStateStore } from 'concordat/postgres'
import { redisLocks, redisStateStore } from 'concordat/redis'
import pg from 'pg'
import type { RedisClient } from '../../support/inside/core.ts'
import type { LocksOptions } from '../../support/inside/locks.ts'
import { ANSWER_MS } from './sizes.ts'

export interface OpenOptions extends LocksOptions {
  readonly prefix: string
  /** Replaces the client that Redis locks make themselves. */
  readonly client?: RedisClient | undefined
  readonly restartGraceMs?: number | undefined
  /** Wraps the client between the store and its database. */
  readonly wrap?: ((sql: SqlClient) => SqlClient) | undefined
}

export function isPostgres(url: string): boolean {
  return url.startsWith('postgres:')
}

export function openLocks(url: string, options: OpenOptions): Locks {
  const { prefix, client, restartGraceMs, wrap, ...shared } = options
  if (isPostgres(url)) return openPostgresLocks(url, { ...shared, wrap })
  const source = client === undefined ? { url } : { client }
  return redisLocks({ ...shared, ...source, prefix, restartGraceMs, answerMs: ANSWER_MS })
}

/** All of an episode are in the schema of the tests' own server. */
export function openPostgresLocks(
  url: string,
  { wrap, ...options }: Omit<OpenOptions, 'prefix' | 'client' | 'restartGraceMs'>,
): PostgresLocks {
  const { pool, listener } = connections(url)
  const sql = pgClient(pool)
  const locks = postgresLocks({ ...options, sql: wrap?.(sql) ?? sql, listener, answerMs: ANSWER_MS })
  const close = locks.close.bind(locks)
  return Object.assign(locks, { close: () => close().then(() => end(pool, listener)) })
}

export function openStateStore(url: string, prefix: string): ClusterStore {
  if (!isPostgres(url)) return redisStateStore({ url, prefix, answerMs: ANSWER_MS })
  const { pool, listener } = connections(url)
  const store = postgresStateStore({ sql: pgClient(pool), listener, answerMs: ANSWER_MS })
  const close = store.close.bind(store)
  return Object.assign(store, { close: () => close().then(() => end(pool, listener)) })
}

/**
 * Opens a pool with time limits, as the driver's page requires: it gives up a hanging call, and its connection with it.
 */
export function poolAt(url: string, max = 4, answerMs = ANSWER_MS): pg.Pool {
  const limits = { connectionTimeoutMillis: answerMs, query_timeout: answerMs, keepAlive: true }
  const pool = new pg.Pool({ connectionString: url, max, ...limits })
  pool.on('error', () => {})
  return pool
}

function connections(url: string) {
  const connect = () => new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, keepAlive: true })
  return { pool: poolAt(url), listener: pgListener({ connect }) }
}

async function end(pool: pg.Pool, listener: ReturnType<typeof pgListener>): Promise<void> {
  await listener.close()
  // A connection that hangs is not waited for.
  await Promise.race([pool.end(), new Promise((resolve) => setTimeout(resolve, 2 * ANSWER_MS).unref())])
}
