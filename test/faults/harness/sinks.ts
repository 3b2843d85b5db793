import { pgClient } from 'concordat/core/pg'
import { createFence } from 'concordat/locks'
import { redisFence } from 'concordat/redis'
import { Redis } from 'ioredis'
import pg from 'pg'

/** Addresses of a run's sinks; plain data that is sent to workers. */
export interface SinkAddress {
  readonly postgresUrl: string
  readonly schema: string
  readonly redisUrl: string
}

/** Sink that a worker writes to: a resource that only accepts tokens that do not fall. */
export interface SinkClient {
  /** `guarded`: in the database of the locks, which let the write commit or not. */
  readonly name: 'postgres' | 'redis' | 'guarded'
  /** @throws `locks.fence_rejected`; after any other error the outcome is unknown */
  write(resource: string, token: number, holding: string, write: string): Promise<void>
  close(): Promise<void>
}

/** @param fenced `false`: a mistake built in, tokens are written down but not looked at */
export function openSinks(address: SinkAddress, fenced: boolean): readonly SinkClient[] {
  return [postgresSink(address, fenced), redisSink(address, fenced)]
}

function postgresSink({ postgresUrl, schema }: SinkAddress, fenced: boolean): SinkClient {
  // A stopped process must not keep the guard row: the server ends its transaction.
  const options = '-c lock_timeout=800 -c idle_in_transaction_session_timeout=400'
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 1, options })
  pool.on('error', () => {})
  const sql = pgClient(pool)
  const fence = createFence({ sql, schema })
  return {
    name: 'postgres',
    write: (resource, token, holding, write) =>
      sql.transaction(async (tx) => {
        if (fenced) await fence.check(tx, resource, token)
        await tx.query(`INSERT INTO "${schema}".ledger (resource, token, holding, write) VALUES ($1, $2, $3, $4)`, [
          resource,
          String(token),
          holding,
          write,
        ])
      }),
    close: () => pool.end(),
  }
}

function redisSink({ redisUrl }: SinkAddress, fenced: boolean): SinkClient {
  const fence = redisFence({ url: redisUrl })
  const client = new Redis(redisUrl, { lazyConnect: true })
  client.on('error', () => {})
  return {
    name: 'redis',
    async write(resource, token, holding, write) {
      const line = JSON.stringify({ token, holding, write })
      if (fenced) await fence.write(resource, token, [['RPUSH', ledgerKey(resource), line]])
      else await client.rpush(ledgerKey(resource), line)
    },
    async close() {
      client.disconnect()
      await fence.close()
    },
  }
}

export function ledgerKey(resource: string): string {
  return `ledger:${resource}`
}
