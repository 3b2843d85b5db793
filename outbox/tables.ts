/**
 * The outbox's tables. `outbox` has the columns Debezium's outbox event router reads (`id`, `aggregatetype`,
 * `aggregateid`, `type`, `payload`), so that change data capture can take the relay's place.
 */
import { explainMissing, migrate, quoteIdentifier, type SqlClient, type SqlMigration } from '../core/sql.ts'
import { OutboxPartitionsMismatch } from './errors.ts'
import { CONFIRM_FUNCTION, HOLD_FUNCTION, WINDOW_FUNCTION } from './functions.ts'

/** Quoted, schema-qualified names. */
export interface OutboxTables {
  readonly outbox: string
  readonly meta: string
  readonly lease: string
  readonly relay: string
  readonly audit: string
  /** The functions of `functions.ts`. */
  readonly window: string
  readonly confirm: string
  readonly hold: string
}

export function outboxTables(schema: string): OutboxTables {
  const quoted = quoteIdentifier(schema)
  return Object.freeze({
    outbox: `${quoted}.outbox`,
    meta: `${quoted}.outbox_meta`,
    lease: `${quoted}.outbox_lease`,
    relay: `${quoted}.outbox_relay`,
    audit: `${quoted}.outbox_audit`,
    window: `${quoted}.outbox_window`,
    confirm: `${quoted}.outbox_confirm`,
    hold: `${quoted}.outbox_hold`,
  })
}

/**
 * `next_attempt_at` is set on a row that failed and holds back its key until then; `infinity` when parked. Rows live for
 * milliseconds, so vacuum comes by row count, not by share, and never locks the table to shrink it.
 */
const OUTBOX_MIGRATIONS: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.outbox (
         partition int NOT NULL,
         seq bigserial NOT NULL,
         id text NOT NULL,
         aggregatetype text NOT NULL,
         aggregateid text,
         type text NOT NULL,
         payload bytea,
         source text NOT NULL,
         content_type text NOT NULL,
         headers json,
         time bigint NOT NULL,
         added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         attempts int NOT NULL DEFAULT 0,
         strikes int NOT NULL DEFAULT 0,
         next_attempt_at timestamptz,
         parked_at timestamptz,
         last_error text,
         PRIMARY KEY (partition, seq)
       ) WITH (
         autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
         autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, vacuum_truncate = false
       )`,
      `CREATE INDEX outbox_held ON {schema}.outbox (partition, next_attempt_at) WHERE next_attempt_at IS NOT NULL`,
      `CREATE TABLE {schema}.outbox_meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), partitions int NOT NULL)`,
      `CREATE TABLE {schema}.outbox_lease (
         partition int PRIMARY KEY, owner text, epoch bigint NOT NULL DEFAULT 0, lease_until timestamptz
       ) WITH (fillfactor = 50)`,
      WINDOW_FUNCTION,
      CONFIRM_FUNCTION,
      HOLD_FUNCTION,
      `CREATE TABLE {schema}.outbox_relay (owner text PRIMARY KEY, live_until timestamptz NOT NULL) WITH (fillfactor = 50)`,
      `CREATE TABLE {schema}.outbox_audit (
         at timestamptz NOT NULL DEFAULT clock_timestamp(),
         action text NOT NULL CHECK (action IN ('retry', 'drop')),
         by text NOT NULL,
         reason text NOT NULL,
         id text NOT NULL,
         aggregatetype text NOT NULL,
         aggregateid text,
         type text NOT NULL,
         payload bytea,
         source text NOT NULL,
         content_type text NOT NULL,
         headers json,
         time bigint NOT NULL,
         attempts int NOT NULL,
         last_error text
       )`,
    ],
  },
]

/**
 * Makes or upgrades the tables and fixes the number of partitions.
 * @throws OutboxPartitionsMismatch when they exist with another number
 */
export async function migrateOutbox(sql: SqlClient, schema: string, partitions: number): Promise<void> {
  await migrate(sql, schema, 'outbox', OUTBOX_MIGRATIONS)
  const tables = outboxTables(schema)
  await sql.query(`INSERT INTO ${tables.meta} (partitions) VALUES ($1) ON CONFLICT DO NOTHING`, [partitions])
  await sql.query(
    `INSERT INTO ${tables.lease} (partition) SELECT generate_series(0, partitions - 1) FROM ${tables.meta} ON CONFLICT DO NOTHING`,
  )
  await checkPartitions(sql, schema, partitions)
}

/** @throws OutboxPartitionsMismatch when the tables were made with another number, SqlTablesMissing when there are none */
export async function checkPartitions(sql: SqlClient, schema: string, partitions: number): Promise<void> {
  const select = `SELECT partitions FROM ${outboxTables(schema).meta}`
  const meta = await sql.query<{ partitions: number }>(select).catch((error: unknown) => {
    throw explainMissing(error, schema, 'outbox.migrate()')
  })
  const stored = meta.rows[0]?.partitions
  if (stored !== partitions) throw new OutboxPartitionsMismatch(schema, partitions, stored)
}
