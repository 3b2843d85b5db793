import { migrate, REQUIRE_TABLES, requireMigrated } from '../../../core/migrate.ts'
import { optionNames, refuseUnknown } from '../../../core/option-checks.ts'
import { RUNTIME_NAMES, type RuntimeOptions, resolveRuntime } from '../../../core/runtime-options.ts'
import { quoteIdentifier } from '../../../core/sql.ts'
import { resolveSqlStore, SQL_STORE_NAMES, type SqlStoreOptions } from '../../../core/sql-options.ts'
import { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { HealthProbingClusterStore } from '../store/health-probing-store.ts'
import { PostgresClusterStore } from './store.ts'
import { CLUSTER_PART } from './tables.ts'
import { Tail } from './tail.ts'
import { LogWakes } from './wakes.ts'

/** Options of `postgresStateStore`. Each step uses a connection of `sql` for a moment. */
export interface PostgresStateStoreOptions extends SqlStoreOptions, RuntimeOptions {}

export interface PostgresStateStore extends ClusterStore {
  /** Creates or updates the tables. Idempotent, safe from several processes at once. */
  migrate(): Promise<void>
}

const NAMES = optionNames<PostgresStateStoreOptions>({ ...SQL_STORE_NAMES, ...RUNTIME_NAMES })

/**
 * Creates a store. @throws TypeError / RangeError for a bad option; connects later, so never because the server is unavailable
 */
export function postgresStateStore(options: PostgresStateStoreOptions): PostgresStateStore {
  refuseUnknown('postgresStateStore', options, NAMES)
  const { sql, schema: name, listener, answerMs } = resolveSqlStore('postgresStateStore', options)
  const { clock, logger } = resolveRuntime('postgresStateStore', options)
  const schema = quoteIdentifier(name)
  const steps = new StoreStatementRunner({
    sql,
    schema: name,
    migrateCall: CLUSTER_PART.call,
    answerMs,
    clock,
    errors: {
      unavailable: (outcome, detail, cause) =>
        new ClusterError('cluster.store_unavailable', { store: 'postgres', outcome, detail }, cause),
      refused: (cause) => new ClusterError('cluster.store_refused', { store: 'postgres' }, cause),
    },
  })
  const isTold = listener !== undefined || sql.exclusive !== undefined
  const tail = new Tail({ steps, schema, isTold, clock, logger })
  const wakes = new LogWakes(sql, name, listener, () => tail.wake())
  const store = new PostgresClusterStore({ steps, tail, wakes, schema })
  return Object.assign(new HealthProbingClusterStore(store, clock), {
    migrate: () => migrate(sql, name, CLUSTER_PART.name, CLUSTER_PART.migrations),
    [REQUIRE_TABLES]: () => requireMigrated(sql, name, CLUSTER_PART),
  })
}
