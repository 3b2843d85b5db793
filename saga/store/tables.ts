/** Tables of the saga store and of participants. */
import { requireInteger } from '../../core/errors.ts'
import { migrate, type SqlMigration, type SqlPart } from '../../core/migrate.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import {
  DEFAULT_SCHEMA,
  MAX_AGE_MS,
  ownQuery,
  quoteIdentifier,
  requireSqlClient,
  type SqlClient,
} from '../../core/sql.ts'
import { ANSWERED_WITHIN, PURGE_AFTER_MS } from '../participant/barrier.ts'
import { IRREVERSIBLE_WRITES_FUNCTION } from '../undo/irreversible-writes.ts'
import { UNDO_FUNCTIONS } from '../undo/sql-functions.ts'
import { UNDO_TABLES } from '../undo/tables.ts'
import { WRITE_FUNCTION } from './write-function.ts'

/**
 * Columns and tables of sagas:
 * - `birth` distinguishes a saga from an earlier one with the same id that was deleted; `late`: its deadline has passed; `home`:
 *   the shard it was started for, and the layout.
 * - `saga_home` is one row: the prefix of the births of all sagas here.
 * - `wait_ms`, `lease_ms`: distance of `due_at` when it was written, to repair it after the server's clock was set back.
 * - `fillfactor`: space for the next states of a row beside it, so that an update of unindexed columns touches no index.
 */
const SAGA_TABLES: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.saga (
         name text NOT NULL,
         id text NOT NULL,
         version int NOT NULL,
         graph_hash text NOT NULL,
         birth text NOT NULL,
         home text,
         status text NOT NULL,
         state jsonb NOT NULL,
         input jsonb NOT NULL,
         input_hash text NOT NULL,
         trace jsonb,
         revision bigint NOT NULL DEFAULT 1,
         owner text,
         epoch bigint NOT NULL DEFAULT 0,
         due_at timestamptz,
         wait_ms float8,
         deadline_at timestamptz,
         late boolean NOT NULL DEFAULT false,
         mail jsonb,
         created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         ended_at timestamptz,
         PRIMARY KEY (name, id)) WITH (fillfactor = 70)`,
      `CREATE INDEX saga_due ON {schema}.saga (name, version, due_at) WHERE due_at IS NOT NULL`,
      `CREATE INDEX saga_open ON {schema}.saga (status, created_at) WHERE ended_at IS NULL`,
      `CREATE INDEX saga_version ON {schema}.saga (name, version) WHERE ended_at IS NULL`,
      `CREATE INDEX saga_ended ON {schema}.saga (ended_at) WHERE ended_at IS NOT NULL`,
      `CREATE INDEX saga_late ON {schema}.saga (name) WHERE late`,
      `CREATE TABLE {schema}.saga_event (
         seq bigint GENERATED ALWAYS AS IDENTITY,
         saga text NOT NULL,
         id text NOT NULL,
         at timestamptz NOT NULL DEFAULT clock_timestamp(),
         kind text NOT NULL,
         step text,
         detail jsonb,
         PRIMARY KEY (saga, id, seq))`,
      `CREATE TABLE {schema}.saga_definition (
         name text NOT NULL,
         version int NOT NULL,
         graph_hash text NOT NULL,
         signals jsonb NOT NULL,
         first_seen_at timestamptz NOT NULL DEFAULT now(),
         PRIMARY KEY (name, version))`,
      `CREATE TABLE {schema}.saga_message (
         id text PRIMARY KEY,
         name text NOT NULL,
         version int NOT NULL,
         channel text NOT NULL,
         message bytea NOT NULL,
         attempts int NOT NULL DEFAULT 0,
         due_at timestamptz DEFAULT clock_timestamp(),
         lease_ms float8 NOT NULL DEFAULT 0,
         left_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
      `CREATE INDEX saga_message_due ON {schema}.saga_message (name, version, due_at) WHERE due_at IS NOT NULL`,
      `CREATE TABLE {schema}.saga_home (id text PRIMARY KEY)`,
      `INSERT INTO {schema}.saga_home SELECT left(gen_random_uuid()::text, 8)`,
      WRITE_FUNCTION,
    ],
  },
]

/**
 * Columns and tables of participants:
 * - `reply_to` identifies the service: an id that it starts again has another birth, and the effect of the earlier saga may still
 *   exist.
 * - `gid`: the prepared transaction with the effect; empty for other kinds of participants.
 * - `saga_barrier_purge` is one row: rows of the barrier that are a minute older than `until` may be deleted.
 */
const PARTICIPANT_TABLES: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.saga_barrier (
         saga_key text NOT NULL,
         operation text NOT NULL,
         birth text NOT NULL,
         reply_to text NOT NULL DEFAULT '',
         status text NOT NULL,
         outside boolean NOT NULL DEFAULT false,
         round int NOT NULL DEFAULT 0,
         reply jsonb,
         gid text,
         created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         PRIMARY KEY (saga_key, birth, operation))`,
      `CREATE INDEX saga_barrier_created ON {schema}.saga_barrier (created_at)`,
      `CREATE TABLE {schema}.saga_barrier_purge (until timestamptz NOT NULL)`,
      `INSERT INTO {schema}.saga_barrier_purge VALUES ('-infinity')`,
      ...UNDO_TABLES,
      ...UNDO_FUNCTIONS,
      IRREVERSIBLE_WRITES_FUNCTION,
    ],
  },
]

export const SAGA_PART: SqlPart = { name: 'saga', migrations: SAGA_TABLES, call: 'coordinator.migrate()' }
export const PARTICIPANT_PART: SqlPart = {
  name: 'saga-participant',
  migrations: PARTICIPANT_TABLES,
  call: 'migrateParticipant(sql, schema)',
}

const PURGE_BATCH = 1_000
/** Condition for the same step of the same saga. */
const isOfStep = (row: string): string => `${row}.saga_key = b.saga_key AND ${row}.birth = b.birth`
const PURGE_NAMES = optionNames<{ olderThanMs: number; schema?: string }>({ olderThanMs: true, schema: true })

export async function migrateSagas(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, SAGA_PART.name, SAGA_PART.migrations)
}

/**
 * Deletes records of participants about steps older than `olderThanMs` (at least a day). A command that was sent before that time
 * and is handled after the purge is not executed, but answered with `saga.command_too_old`, so choose a longer time than a
 * message can be delayed (weeks). The id of a completed saga can be started again afterwards. The compensation of a completed
 * step whose record is gone is answered with `saga.step_forgotten`, and the saga is stuck, so choose a longer time than a saga
 * can last. Records of undecided steps stay: a `try` of a `tccParticipant` that was neither confirmed nor cancelled, a failed
 * call that may have had an effect, the prepared transaction of an `xaParticipant`, and changes that an `undoParticipant` may
 * still have to undo.
 * @param options `schema`: the participant's schema, `concordat` by default
 * @returns number of deleted rows
 */
export async function purgeParticipant(
  sql: SqlClient,
  options: { readonly olderThanMs: number; readonly schema?: string | undefined },
): Promise<number> {
  requireSqlClient('purgeParticipant', sql)
  refuseUnknown('purgeParticipant', options, PURGE_NAMES)
  requireInteger('purgeParticipant.olderThanMs', options.olderThanMs, PURGE_AFTER_MS, MAX_AGE_MS)
  const schema = options.schema ?? DEFAULT_SCHEMA
  const query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  const quoted = quoteIdentifier(schema)
  const table = `${quoted}.saga_barrier`
  for (let total = 0; ; ) {
    const rowCount = await sql.transaction(async (tx) => {
      // Before anything is deleted: an old command that is recorded at the same time waits for this row, and then is not executed
      // again.
      const { rows } = await query<{ until: string }>(
        tx,
        `UPDATE ${quoted}.saga_barrier_purge p SET until = greatest(p.until, c.until)
         FROM (SELECT clock_timestamp() - $1::float8 * interval '1 ms' AS until) c
         RETURNING (c.until - ${ANSWERED_WITHIN})::text AS until`,
        [options.olderThanMs],
      )
      return (await query(tx, deleteOlder(table, quoted), [(rows[0] as { until: string }).until])).rowCount
    })
    total += rowCount
    // The other rows of a step can be deleted only after its `invoke` row, so a batch that is not full need not be the last.
    if (rowCount === 0) return total
  }
}

function deleteOlder(table: string, quoted: string): string {
  return `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM ${table} b WHERE created_at < $1::timestamptz
      AND (gid IS NULL OR gid NOT IN (SELECT gid FROM pg_prepared_xacts))
      -- What is prepared elsewhere is in no list here: kept until it was confirmed or cancelled.
      AND (gid IS NULL OR operation <> 'invoke' OR status NOT IN ('begun', 'ok') OR EXISTS (
        SELECT FROM ${table} e WHERE ${isOfStep('e')} AND e.operation IN ('confirm', 'compensate')))
      -- Undecided: it was tried, or may have had an effect, and was neither confirmed nor undone.
      AND (operation <> 'invoke'
        OR NOT (status IN ('begun', 'failed', 'final') OR (status = 'ok' AND coalesce(reply->>'kind', '') = 'tcc'))
        OR EXISTS (SELECT FROM ${table} e WHERE ${isOfStep('e')} AND e.operation IN ('confirm', 'compensate')))
      -- Asked again after that, the answer is in the row of the step, too.
      AND (operation <> 'invoke' OR NOT EXISTS (SELECT FROM ${table} e WHERE ${isOfStep('e')} AND e.operation IN ('confirm', 'compensate')
        AND e.created_at >= $1::timestamptz))
      -- The row of the step is deleted first: without its other rows, a confirmed step would look undecided.
      AND (operation = 'invoke' OR NOT EXISTS (SELECT FROM ${table} e WHERE ${isOfStep('e')} AND e.operation = 'invoke'))
      AND NOT EXISTS (SELECT FROM ${quoted}.saga_undo u WHERE ${isOfStep('u')})
    ORDER BY created_at LIMIT ${PURGE_BATCH} FOR UPDATE SKIP LOCKED))`
}

/**
 * Creates the barrier table of a service's participants. Idempotent; safe when several processes start at once.
 * @param schema schema of the participant. @default 'concordat'
 */
export async function migrateParticipant(sql: SqlClient, schema: string = DEFAULT_SCHEMA): Promise<void> {
  requireSqlClient('migrateParticipant', sql)
  await migrate(sql, schema, PARTICIPANT_PART.name, PARTICIPANT_PART.migrations)
}
