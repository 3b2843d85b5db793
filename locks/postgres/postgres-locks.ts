import { MINUTE, SECOND } from '../../core/clock.ts'
import { migrate, REQUIRE_TABLES, requireMigrated } from '../../core/migrate.ts'
import { optionNames, refuseUnknown, requireFunction } from '../../core/option-checks.ts'
import { quoteIdentifier, refuseOwnTransaction, type SqlTransaction } from '../../core/sql.ts'
import { resolveSqlStore, SQL_STORE_NAMES, type SqlStoreOptions } from '../../core/sql-options.ts'
import { StoreStatementRunner } from '../../core/store-statement-runner.ts'
import { locksOn } from '../create-locks.ts'
import { LockError } from '../errors.ts'
import type { AcquireOptions, Lease, Locks } from '../lock.ts'
import { LOCKS_NAMES, type LocksOptions, resolveLocks } from '../options.ts'
import { GuardedTransactions } from './guarded-transactions.ts'
import { homeOf } from './local-wakeups.ts'
import { PostgresLockStore } from './store.ts'
import { LOCK_STORE_PART } from './tables.ts'
import { WaiterWakeups } from './waiter-wakeups.ts'

/**
 * Options of `postgresLocks`. Each step of a lock uses a connection for a moment: give the locks their own pool as `sql` (2
 * connections are usually enough) if other users of a pool keep connections for long, because renewals would wait for them.
 */
export interface PostgresLocksOptions extends LocksOptions, SqlStoreOptions {}

/** Locks in PostgreSQL, with operations that only a lock in the same database can offer. */
export interface PostgresLocks extends Locks {
  /** Creates or updates the tables. Idempotent, safe from several processes at once. */
  migrate(): Promise<void>

  /**
   * Guards a transaction: from now on `tx` commits only if `lease` is the newest holder at that moment. Check and commit are one
   * step, and no grant can come between them. Nothing is locked before the commit, so a stopped transaction blocks no other
   * holder. `tx` must be a transaction of the locks' database.
   *
   * The lease need not be valid: an expired one that no other holder has replaced is still the newest. A lease ended by force, or
   * released, is not.
   * @throws `locks.fence_rejected` at once when it is already too late. At the commit the server's error is thrown, with the
   * SQLSTATE `CC002`, unless `transaction` calls it
   */
  guard(tx: SqlTransaction, lease: Pick<Lease, 'key' | 'token'>): Promise<void>

  /**
   * `using` with a guarded transaction: acquires, begins, calls `work`, commits if the lease is the newest then, releases.
   * Resolves when the commit is confirmed, whatever happens to the lease afterwards.
   * @throws `locks.fence_rejected` when another holder took the lock before the commit: nothing was written, repeat it; the
   * errors of `using` and of `work`
   */
  transaction<T>(
    key: string,
    options: AcquireOptions,
    work: (tx: SqlTransaction, lease: Lease) => T | Promise<T>,
  ): Promise<T>
}

const NAMES = optionNames<PostgresLocksOptions>({
  ...LOCKS_NAMES,
  ...SQL_STORE_NAMES,
})

const SWEEP_EVERY_MS = 1 * MINUTE
/** Largest number of unused keys in one sweep; while there are more, the next sweep follows soon. */
const SWEEP_KEYS = 1_000
const SWEEP_SOON_MS = 1 * SECOND

/** Creates locks. @throws TypeError / RangeError for a bad option; connects later, so never because the server is unavailable */
export function postgresLocks(options: PostgresLocksOptions): PostgresLocks {
  refuseUnknown('postgresLocks', options, NAMES)
  const { sql, schema, listener, answerMs } = resolveSqlStore('postgresLocks', options)
  const quoted = quoteIdentifier(schema)
  const { clock } = resolveLocks(options)
  const steps = new StoreStatementRunner({
    sql,
    schema,
    migrateCall: LOCK_STORE_PART.call,
    answerMs,
    clock,
    errors: {
      unavailable: (outcome, detail, cause) =>
        new LockError('locks.store_unavailable', { store: 'postgres', outcome, detail }, cause),
      refused: (cause) => new LockError('locks.store_refused', { store: 'postgres' }, cause),
    },
  })
  let sweepAt = clock.monotonic() + SWEEP_EVERY_MS
  const store = new PostgresLockStore({
    steps,
    schema: quoted,
    turns: (onUnclaimed) => new WaiterWakeups({ sql, steps, schema: quoted, clock, listener, onUnclaimed }),
    ready: () => {
      if (sql.exclusive === undefined) return undefined
      // Later callers wait for the same call.
      refuseOwnTransaction(sql)
      const adopt = `SELECT FROM ${quoted}.lock_adopt($1)`
      return homeOf(sql).adopted(schema, () => steps.run(adopt, [sql.exclusive]))
    },
    upkeep: () => {
      if (clock.monotonic() < sweepAt) return
      sweepAt = clock.monotonic() + SWEEP_EVERY_MS
      const sweep = `SELECT ${quoted}.lock_sweep($1) AS more`
      steps.run<{ more: boolean }>(sweep, [SWEEP_KEYS]).then(
        ([row]) => row?.more === true && (sweepAt = clock.monotonic() + SWEEP_SOON_MS),
        () => {},
      )
    },
  })
  const locks = locksOn(store, options)
  const guard = new GuardedTransactions({ sql, schema, quoted })
  return Object.assign(locks, {
    migrate: () => migrate(sql, schema, LOCK_STORE_PART.name, LOCK_STORE_PART.migrations),
    [REQUIRE_TABLES]: () => requireMigrated(sql, schema, LOCK_STORE_PART),
    guard: (tx: SqlTransaction, lease: Pick<Lease, 'key' | 'token'>) => guard.guard(tx, lease),
    transaction: <T>(key: string, wish: AcquireOptions, work: (tx: SqlTransaction, lease: Lease) => T | Promise<T>) => {
      requireFunction(`transaction("${key}") work`, work)
      return guard.transaction(locks, key, wish, work)
    },
  })
}
