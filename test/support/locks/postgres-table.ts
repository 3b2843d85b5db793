// oxlint-disable no-restricted-imports -- the one file of the tests of locks on PostgreSQL that reaches inside
import { setTimeout as pause } from 'node:timers/promises'
import { type SqlClient, type SqlExecutor, type SqlListener, systemClock } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import { LockError } from 'concordat/locks'
import { type PostgresLocks, postgresLocks } from 'concordat/postgres'
import pg from 'pg'
import { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
import { PostgresLockStore } from '../../../locks/postgres/store.ts'
import { WaiterWakeups } from '../../../locks/postgres/waiter-wakeups.ts'
import { createDatabase } from '../../outbox/support/postgres.ts'
import type { PostgresLocksOptions } from '../inside/locks.ts'
import { until } from '../until.ts'
import type { Seat, Table } from './scenario.ts'

/** Holders and waiters still stored in the tables. */
export async function leftovers(sql: SqlExecutor, schema = 'concordat'): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT 'held: ' || key AS name FROM "${schema}".lock_key
       WHERE value IS NOT NULL AND frees_us > extract(epoch FROM clock_timestamp()) * 1000000
     UNION ALL SELECT 'shared: ' || key FROM "${schema}".lock_holder
       WHERE frees_us > extract(epoch FROM clock_timestamp()) * 1000000
     UNION ALL SELECT 'waits: ' || key FROM "${schema}".lock_waiter`,
  )
  return rows.map(({ name }) => name)
}

export interface LocksDatabase {
  readonly url: string
  readonly sql: SqlClient
  readonly pool: pg.Pool
  /** Opens locks with connections of their own, like another process; they end with their `close`. */
  contender(options?: Partial<PostgresLocksOptions> & { readonly listens?: boolean }): PostgresLocks
  drop(): Promise<void>
}

/** A database of its own on the shared server, with the tables of the locks. */
export async function locksDatabase(): Promise<LocksDatabase> {
  const database = await createDatabase()
  await postgresLocks({ sql: database.sql }).migrate()
  return {
    ...database,
    contender: ({ listens = true, ...options } = {}) => contenderAt(database.url, listens, options),
  }
}

function contenderAt(url: string, listens: boolean, options: Partial<PostgresLocksOptions>): PostgresLocks {
  const pool = new pg.Pool({ connectionString: url, max: 3 })
  const listener = listens ? pgListener({ connect: () => new pg.Client({ connectionString: url }) }) : undefined
  const locks = postgresLocks({ sql: pgClient(pool), listener, ...options })
  const close = locks.close.bind(locks)
  let closed: Promise<void> | undefined
  return Object.assign(locks, {
    close: () => {
      closed ??= close().then(async () => {
        await listener?.close()
        await pool.end()
      })
      return closed
    },
  })
}

/** PostgreSQL as the stage of scenarios: each actor behaves like a process of its own. */
export function postgresTable(database: LocksDatabase): Table & { close(): Promise<void> } {
  const open = (): Actor => {
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: database.url }) })
    return { pool, listener, store: storeOn(pgClient(pool), listener) }
  }
  const end = async ({ store, listener, pool }: Actor): Promise<void> => {
    await store.close()
    await listener.close()
    await pool.end()
  }
  const actors = new Map<number, Actor>()
  const operator = open()
  const actor = (n: number): Actor => {
    const known = actors.get(n) ?? open()
    actors.set(n, known)
    return known
  }
  return {
    seat: (n): Seat => ({
      store: actor(n).store,
      die: async () => {
        const dead = actor(n)
        actors.delete(n)
        await end(dead)
        // Deletes the row that the server removes when heartbeats are missing.
        const [client] = dead.store.newValue().split('.')
        await database.sql.query('DELETE FROM concordat.lock_client WHERE client = $1', [client])
      },
    }),
    inspect: (key) => operator.store.inspect(key),
    force: (key) => operator.store.operator.forceRelease(key, { by: 'ada', reason: 'why' }, 0),
    letPlacesLapse: () => pause(3),
    settle: (rung) => until('it is rung', rung, 3_000).catch(() => {}),
    close: async () => {
      await Promise.all([operator, ...actors.values()].map(end))
    },
  }
}

interface Actor {
  readonly pool: pg.Pool
  readonly listener: SqlListener
  readonly store: PostgresLockStore
}

/** Creates a store without the leases above it: the test decides what is sent when. */
export function storeOn(sql: SqlClient, listener?: SqlListener): PostgresLockStore {
  const [schema, clock] = ['"concordat"', systemClock]
  const steps = new StoreStatementRunner({
    sql,
    schema: 'concordat',
    migrateCall: 'locks.migrate()',
    answerMs: 10_000,
    clock,
    errors: {
      unavailable: (outcome, detail, cause) =>
        new LockError('locks.store_unavailable', { store: 'postgres', outcome, detail }, cause),
      refused: (cause) => new LockError('locks.store_refused', { store: 'postgres' }, cause),
    },
  })
  return new PostgresLockStore({
    steps,
    schema,
    turns: (onUnclaimed) => new WaiterWakeups({ sql, steps, schema, clock, listener, onUnclaimed }),
    ready: () => undefined,
    upkeep: () => {},
  })
}
