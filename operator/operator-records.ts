import { type SequenceBehind, sequencesBehind } from '../core/check-sql-sequences.ts'
import type { Logger } from '../core/logger.ts'
import { DEFAULT_SCHEMA, quoteIdentifier, requireSqlClient, type SqlClient } from '../core/sql.ts'
import { oldPrepared } from '../saga/xa/old-prepared-watch.ts'
import type { PreparedTransaction } from '../saga/xa/resource.ts'
import { applyMigrations, type MigrationApplyOptions } from './apply-migrations.ts'
import { type MigrationState, migrationStates } from './migration-states.ts'
import { type OutboxAdmin, SqlOutboxAdmin } from './outbox.ts'
import { type SagaRecords, SqlSagaRecords } from './saga-records.ts'
import { type OperatorTrail, SqlOperatorTrail } from './trail.ts'

/**
 * The operator's access to a service's tables. Every write records its operator and reason: sagas in their timeline, the outbox
 * in `outbox_audit`, everything else through `trail`.
 */
export interface OperatorRecords {
  readonly sql: SqlClient
  readonly schema: string
  readonly sagas: SagaRecords
  readonly outbox: OutboxAdmin
  readonly trail: OperatorTrail
  /** Returns the state of the tables of every part. Reads only. */
  migrations(): Promise<readonly MigrationState[]>
  /** Applies missing migrations, and returns the state after them. @throws `core.sql_version`, `core.migration_blocked` */
  migrate(options: MigrationApplyOptions, logger: Logger): Promise<readonly MigrationState[]>
  /** Returns sequences that are behind their column, as after a cutover by logical replication. */
  sequencesBehind(): Promise<readonly SequenceBehind[]>
  /** Returns prepared transactions of this database older than the limit, oldest first, at most twenty. */
  prepared(olderThanMs: number): Promise<readonly PreparedTransaction[]>
}

/**
 * Opens the records of a schema. Connects to nothing, and needs none of the service's code.
 * @param path prefix of errors, such as `createOperator`
 * @param schema @default 'concordat'
 * @throws TypeError for an object that is not a SqlClient, or an invalid name for PostgreSQL
 */
export function operatorRecords(path: string, client: SqlClient, schema: string = DEFAULT_SCHEMA): OperatorRecords {
  const sql = requireSqlClient(`${path}.sql`, client)
  quoteIdentifier(schema)
  return Object.freeze({
    sql,
    schema,
    sagas: new SqlSagaRecords(sql, schema),
    outbox: new SqlOutboxAdmin(sql, schema),
    trail: new SqlOperatorTrail(sql, schema),
    migrations: () => migrationStates(sql, schema),
    migrate: (options: MigrationApplyOptions, logger: Logger) => applyMigrations(sql, schema, options, logger),
    sequencesBehind: () => sequencesBehind(sql, schema),
    prepared: (olderThanMs: number) => oldPrepared(sql, olderThanMs),
  })
}
