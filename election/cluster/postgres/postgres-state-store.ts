import { type Clock, SECOND, systemClock } from '../../../core/clock.ts'
import { requireInteger } from '../../../core/errors.ts'
import { checkLogger, type Logger } from '../../../core/logger.ts'
import { migrate, REQUIRE_TABLES, requireMigrated } from '../../../core/migrate.ts'
import { hasMethods, optionNames, refuseUnknown, wrongKind } from '../../../core/option-checks.ts'
import {
  DEFAULT_SCHEMA,
  quoteIdentifier,
  requireSqlClient,
  type SqlClient,
  type SqlListener,
} from '../../../core/sql.ts'
import { StoreStatementRunner } from '../../../core/store-statement-runner.ts'
import { ClusterError } from '../store/cluster-errors.ts'
import type { ClusterStore } from '../store/cluster-store.ts'
import { HealthProbingClusterStore } from '../store/health-probing-store.ts'
import { PostgresClusterStore } from './store.ts'
import { CLUSTER_PART } from './tables.ts'
import { Tail } from './tail.ts'
import { LogWakes } from './wakes.ts'

export interface PostgresStateStoreOptions {
  /** `pgClient(pool)` or `pgliteClient(db)`. Each step takes a connection for a moment. */
  readonly sql: SqlClient
  /** @default 'concordat' */
  readonly schema?: string | undefined
  /**
   * Wakes watchers at once: `pgListener({ connect })`, with a connection that no transaction pooler sits on. Without one
   * they look by themselves, after 5 ms at first and every second in the end. Not closed with the store. Needless on
   * PGlite. @default none
   */
  readonly listener?: SqlListener | undefined
  /** How long the server may take to answer before it counts as unavailable. @default 2 seconds */
  readonly answerMs?: number | undefined
  /** @default stderrLogger */
  readonly logger?: Logger | undefined
  /** @default systemClock */
  readonly clock?: Clock | undefined
}

export interface PostgresStateStore extends ClusterStore {
  /** Creates or updates the tables. Idempotent, safe from several processes at once. */
  migrate(): Promise<void>
}

const NAMES = optionNames<PostgresStateStoreOptions>({
  sql: true,
  schema: true,
  listener: true,
  answerMs: true,
  logger: true,
  clock: true,
})

/** @throws TypeError / RangeError for a bad option; asks the server later, so never because it is away */
export function postgresStateStore(options: PostgresStateStoreOptions): PostgresStateStore {
  refuseUnknown('postgresStateStore', options, NAMES)
  const sql = requireSqlClient('postgresStateStore.sql', options.sql)
  const { schema: name = DEFAULT_SCHEMA, listener, clock = systemClock } = options
  const schema = quoteIdentifier(name)
  const logger = checkLogger('postgresStateStore.logger', options.logger)
  if (listener !== undefined && !hasMethods(listener, ['listen'])) {
    throw wrongKind('postgresStateStore.listener', listener, 'a listener such as pgListener({ connect })')
  }
  const steps = new StoreStatementRunner({
    sql,
    schema: name,
    migrateCall: CLUSTER_PART.call,
    answerMs: requireInteger('postgresStateStore.answerMs', options.answerMs ?? 2 * SECOND, 10),
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
