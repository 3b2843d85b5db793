/** Ways to lock on PostgreSQL: this package, a row lease written by hand, and the row lock of an open transaction. */
import { randomBytes } from 'node:crypto'
import { pgClient } from 'concordat/core/pg'
import { postgresLocks } from 'concordat/postgres'
import pg from 'pg'
import { type SideMaker, TTL_MS } from './sides.ts'

const CONNECTIONS = 16

function poolAt(url: string): pg.Pool {
  return new pg.Pool({ connectionString: url, max: CONNECTIONS })
}

export const inPostgres: SideMaker = async (url) => {
  const pool = poolAt(url)
  const locks = postgresLocks({ sql: pgClient(pool) })
  await locks.migrate()
  return {
    name: 'concordat on PostgreSQL',
    pair: async (key) => {
      const lease = await locks.acquire(key, { ttlMs: TTL_MS, waitMs: 0 })
      await lease.release()
    },
    close: async () => {
      await locks.close()
      await pool.end()
    },
  }
}

/** Row lease as job queues write it: the row holds its owner and expiry. No token, no queue, full durability. */
export const rowLease: SideMaker = async (url) => {
  const pool = poolAt(url)
  await pool.query(
    'CREATE TABLE IF NOT EXISTS row_lease (key text PRIMARY KEY, owner text, until timestamptz) WITH (fillfactor = 50)',
  )
  return {
    name: 'a row lease by hand',
    pair: async (key) => {
      const owner = randomBytes(16).toString('hex')
      const taken = await pool.query(
        `INSERT INTO row_lease AS l VALUES ($1, $2, clock_timestamp() + interval '10 s')
         ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until
         WHERE l.owner IS NULL OR l.until < clock_timestamp()`,
        [key, owner],
      )
      if (taken.rowCount !== 1) throw new Error(`${key} is held`)
      await pool.query('UPDATE row_lease SET owner = NULL WHERE key = $1 AND owner = $2', [key, owner])
    },
    close: () => pool.end(),
  }
}

/** Held while a connection and a transaction are open: no lease, and not usable behind a pooler. */
export const forUpdate: SideMaker = async (url) => {
  const pool = poolAt(url)
  await pool.query('CREATE TABLE IF NOT EXISTS row_lock (key text PRIMARY KEY)')
  const known = new Set<string>()
  return {
    name: 'bare SELECT ... FOR UPDATE',
    pair: async (key) => {
      if (!known.has(key)) await pool.query('INSERT INTO row_lock VALUES ($1) ON CONFLICT DO NOTHING', [key])
      known.add(key)
      const connection = await pool.connect()
      try {
        await connection.query('BEGIN')
        await connection.query('SELECT FROM row_lock WHERE key = $1 FOR UPDATE', [key])
        await connection.query('COMMIT')
      } finally {
        connection.release()
      }
    },
    close: () => pool.end(),
  }
}
