import { hasCode, type SqlClient, type SqlExecutor } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import { type PostgresStateStore, postgresStateStore } from 'concordat/postgres'
import pg from 'pg'
import { createDatabase } from '../../outbox/support/postgres.ts'
import type { PostgresStateStoreOptions } from '../inside/election.ts'

const TABLES = ['head', 'log', 'entry', 'tomb', 'bound', 'member', 'request', 'gone']

const DEADLOCK = '40P01'

/**
 * Deletes everything that the store has confirmed. Members write at the same time, in another order, so it may be the victim of
 * a deadlock.
 */
export async function wipeCluster(sql: SqlExecutor, schema = 'concordat'): Promise<void> {
  const deletes = TABLES.map((table, n) => `gone_${n} AS (DELETE FROM "${schema}".cluster_${table})`)
  const wipe = `WITH ${deletes.join(', ')} SELECT 1`
  await sql.query(wipe).catch((error: unknown) => {
    if (!hasCode(error, DEADLOCK)) throw error
    return sql.query(wipe)
  })
}

export interface ClusterDatabase {
  readonly url: string
  readonly sql: SqlClient
  /** Opens a store with connections of its own, like another process; they end with its `close`. */
  store(options?: Partial<PostgresStateStoreOptions> & { readonly listens?: boolean }): PostgresStateStore
  drop(): Promise<void>
}

/** A database of its own on the shared server, with the tables of the cluster store. */
export async function clusterDatabase(): Promise<ClusterDatabase> {
  const database = await createDatabase()
  await postgresStateStore({ sql: database.sql }).migrate()
  return { ...database, store: ({ listens = true, ...options } = {}) => storeAt(database.url, listens, options) }
}

function storeAt(url: string, listens: boolean, options: Partial<PostgresStateStoreOptions>): PostgresStateStore {
  const pool = new pg.Pool({ connectionString: url, max: 3 })
  const listener = listens ? pgListener({ connect: () => new pg.Client({ connectionString: url }) }) : undefined
  const store = postgresStateStore({ sql: pgClient(pool), listener, ...options })
  const close = store.close.bind(store)
  let closed: Promise<void> | undefined
  return Object.assign(store, {
    close: () => {
      closed ??= close().then(async () => {
        await listener?.close()
        await pool.end()
      })
      return closed
    },
  })
}

/** The first call of a function compiles it, on PGlite for longer than the shortest heartbeat of a test. */
export async function warmUp(sql: SqlClient): Promise<void> {
  const store = postgresStateStore({ sql })
  await store.migrate()
  const [cluster, instance, joinId] = ['warm', 'one', 'first']
  const timing = { suspectAfterMs: 60_000, deadAfterMs: 120_000 }
  const member = {
    instance,
    generation: 1,
    status: 'alive',
    joinedAt: 1,
    sequence: 0,
    ...timing,
    joinId,
    json: '{}',
  } as const
  await store.restore(cluster, [member])
  await store.beat(cluster, instance, 1, 60_000)
  await store.members(cluster)
  await wipeCluster(sql)
  await store.close()
}
