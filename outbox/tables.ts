/**
 * The outbox's tables. `outbox` has the columns that Debezium's outbox event router reads (`id`, `aggregatetype`, `aggregateid`,
 * `type`, `payload`), so that change data capture can replace the relay.
 */

import { requireSequences } from '../core/check-sql-sequences.ts'
import { hasCode } from '../core/errors.ts'
import { migrate, requireMigrated, type SqlMigration, type SqlPart } from '../core/migrate.ts'
import { explainMissing, quoteIdentifier, type SqlClient } from '../core/sql.ts'
import { namingMissingRights } from '../core/table-rights.ts'
import { OutboxError } from './errors.ts'
import {
  ADD_FUNCTION,
  ADD_MANY_FUNCTION,
  CONFIRM_FUNCTION,
  HOLD_FUNCTION,
  PASS_FUNCTION,
  WINDOW_FUNCTION,
} from './sql-functions.ts'

/** Quoted, schema-qualified names. */
export interface OutboxTables {
  readonly outbox: string
  readonly meta: string
  readonly lease: string
  readonly relay: string
  readonly audit: string
  /** The functions of `sql-functions.ts`. */
  readonly window: string
  readonly pass: string
  readonly confirm: string
  readonly hold: string
  readonly add: string
  readonly addMany: string
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
    pass: `${quoted}.outbox_pass`,
    confirm: `${quoted}.outbox_confirm`,
    hold: `${quoted}.outbox_hold`,
    add: `${quoted}.outbox_add`,
    addMany: `${quoted}.outbox_add_many`,
  })
}

/**
 * `next_attempt_at` is set on a row that failed and holds back its key until then; `infinity` if parked. `lease_ms` is the time
 * left until `lease_until` or `live_until` when it was written. Rows exist for milliseconds, so vacuum is triggered by row count,
 * not by share, and never locks the table to shrink it.
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
      // A transaction has its own number before its rows have theirs: `outbox_pass` relies on it.
      `ALTER TABLE {schema}.outbox ALTER seq SET DEFAULT
         CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval($seq\${schema}.outbox_seq_seq$seq$) END`,
      `CREATE INDEX outbox_held ON {schema}.outbox (partition, next_attempt_at) WHERE next_attempt_at IS NOT NULL`,
      `CREATE TABLE {schema}.outbox_meta (
         one boolean PRIMARY KEY DEFAULT true CHECK (one), partitions int NOT NULL, service text
       )`,
      `CREATE TABLE {schema}.outbox_lease (
         partition int PRIMARY KEY, owner text, epoch bigint NOT NULL DEFAULT 0, lease_until timestamptz,
         lease_ms int NOT NULL DEFAULT 0
       ) WITH (fillfactor = 50)`,
      `CREATE TABLE {schema}.outbox_relay (
         owner text PRIMARY KEY, live_until timestamptz NOT NULL, lease_ms int NOT NULL DEFAULT 0
       ) WITH (fillfactor = 50)`,
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
      WINDOW_FUNCTION,
      PASS_FUNCTION,
      ADD_FUNCTION,
      ADD_MANY_FUNCTION,
      CONFIRM_FUNCTION,
      HOLD_FUNCTION,
    ],
  },
]

export const OUTBOX_PART: SqlPart = { name: 'outbox', migrations: OUTBOX_MIGRATIONS, call: 'outbox.migrate()' }

/** The settings that a process expects of an outbox. */
export interface ExpectedOutbox {
  readonly sql: SqlClient
  readonly schema: string
  readonly partitions: number
  readonly service: string
}

/**
 * Creates or upgrades the tables, and stores the number of partitions and the service they belong to. Only reads if nothing is
 * missing.
 * @throws `outbox.partitions`, `outbox.owner` if they exist with another number or for another service
 */
export async function migrateOutbox(expected: ExpectedOutbox): Promise<void> {
  const { sql, schema, partitions, service } = expected
  await migrate(sql, schema, OUTBOX_PART.name, OUTBOX_PART.migrations)
  const tables = outboxTables(schema)
  await prepareOutbox(sql, tables, partitions, service)
  if ((await checkOutbox(expected)) === null) {
    await claim(sql, tables, service)
    await checkOutbox(expected)
  }
}

/** Sets the values that are missing in tables without rows; existing values are kept. */
export async function prepareOutbox(
  sql: SqlClient,
  tables: OutboxTables,
  partitions: number,
  service: string | null,
): Promise<void> {
  if (await isPrepared(sql, tables)) return
  for (const statement of prepare(tables, partitions, service)) await sql.query(statement)
}

/** A role without the right to write leaves it unclaimed. */
async function claim(sql: SqlClient, tables: OutboxTables, service: string): Promise<void> {
  try {
    await sql.query(`UPDATE ${tables.meta} SET service = $1 WHERE service IS NULL`, [service])
  } catch (error) {
    if (!hasCode(error, '42501')) throw error
  }
}

/**
 * The data that `migrate` writes once into new tables: the number of partitions and a lease row for each.
 * @see OUTBOX_PART for the preceding statements
 */
export function prepareText(schema: string, partitions: number, service: string | null): string {
  return prepare(outboxTables(schema), partitions, service)
    .map((statement) => `${statement};\n`)
    .join('')
}

function prepare(tables: OutboxTables, partitions: number, service: string | null): readonly string[] {
  const owner = service === null ? 'NULL' : `'${service.replaceAll("'", "''")}'`
  return [
    `INSERT INTO ${tables.meta} (partitions, service) VALUES (${partitions}, ${owner}) ON CONFLICT DO NOTHING`,
    `INSERT INTO ${tables.lease} (partition) SELECT generate_series(0, partitions - 1) FROM ${tables.meta} ON CONFLICT DO NOTHING`,
  ]
}

async function isPrepared(sql: SqlClient, tables: OutboxTables): Promise<boolean> {
  const { rows } = await sql.query<{ prepared: boolean }>(
    `SELECT partitions = (SELECT count(*) FROM ${tables.lease}) AS prepared FROM ${tables.meta}`,
  )
  return rows[0]?.prepared === true
}

/** Content of `outbox_meta`. */
export interface OutboxMeta {
  readonly partitions: number | null
  readonly service: string | null
}

/**
 * How the tables differ from the expected settings: another number of partitions or another service; `undefined` without a
 * difference.
 */
export function outboxMismatch(
  { schema, partitions, service }: ExpectedOutbox,
  stored: OutboxMeta | undefined,
): OutboxError | undefined {
  if (stored?.partitions !== partitions)
    return new OutboxError('outbox.partitions', {
      schema,
      configured: partitions,
      stored: stored?.partitions ?? undefined,
    })
  if (stored.service !== null && stored.service !== service)
    return new OutboxError('outbox.owner', { schema, service, owner: stored.service })
  return undefined
}

/**
 * @returns the service that the tables belong to, `null` if none yet
 * @throws `core.tables_missing`, `core.sql_version`, `core.rights_missing`, `core.sequence_behind`; `outbox.partitions`,
 * `outbox.owner` if the tables were created with another number, or for another service
 */
export async function checkOutbox(expected: ExpectedOutbox): Promise<string | null> {
  const { sql, schema } = expected
  await requireMigrated(sql, schema, OUTBOX_PART)
  return namingMissingRights(sql, schema, () => checkRows(expected))
}

async function checkRows(expected: ExpectedOutbox): Promise<string | null> {
  const { sql, schema } = expected
  const select = `SELECT partitions, service FROM ${outboxTables(schema).meta}`
  const meta = await sql.query<OutboxMeta>(select).catch((error: unknown) => {
    throw explainMissing(error, schema, 'outbox.migrate()')
  })
  const [stored] = meta.rows
  const wrong = outboxMismatch(expected, stored)
  if (wrong !== undefined) throw wrong
  await requireSequences(sql, schema, ['outbox'])
  return stored?.service ?? null
}
