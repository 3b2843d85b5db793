/** The tables of the saga store and of participants. */
import { DAY } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import { migrate, type SqlMigration, type SqlPart } from '../../core/migrate.ts'
import { optionNames, refuseUnknown } from '../../core/options.ts'
import {
  DEFAULT_SCHEMA,
  MAX_AGE_MS,
  ownQuery,
  quoteIdentifier,
  requireSqlClient,
  type SqlClient,
} from '../../core/sql.ts'
import { UNDO_FUNCTIONS, UNDO_STRAYED } from '../undo/functions.ts'
import { UNDO_WATCHED } from '../undo/strayed.ts'
import { UNDO_NAMES, UNDO_TABLES } from '../undo/tables.ts'
import { WRITE_FUNCTION } from './write-function.ts'

const SAGA_TABLES: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.saga (
         name text NOT NULL,
         id text NOT NULL,
         version int NOT NULL,
         graph_hash text NOT NULL,
         status text NOT NULL,
         state jsonb NOT NULL,
         input jsonb NOT NULL,
         input_hash text NOT NULL,
         revision bigint NOT NULL DEFAULT 1,
         owner text,
         epoch bigint NOT NULL DEFAULT 0,
         due_at timestamptz,
         mail jsonb,
         created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         ended_at timestamptz,
         PRIMARY KEY (name, id))`,
      `CREATE INDEX saga_due ON {schema}.saga (due_at) WHERE due_at IS NOT NULL`,
      `CREATE INDEX saga_open ON {schema}.saga (status, created_at) WHERE ended_at IS NULL`,
      `CREATE TABLE {schema}.saga_event (
         seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
         saga text NOT NULL,
         id text NOT NULL,
         at timestamptz NOT NULL DEFAULT clock_timestamp(),
         kind text NOT NULL,
         step text,
         detail jsonb)`,
      `CREATE INDEX saga_event_saga ON {schema}.saga_event (saga, id, seq)`,
      `CREATE TABLE {schema}.saga_definition (
         name text NOT NULL,
         version int NOT NULL,
         graph_hash text NOT NULL,
         first_seen_at timestamptz NOT NULL DEFAULT now(),
         PRIMARY KEY (name, version))`,
    ],
  },
  { version: 2, statements: [`ALTER TABLE {schema}.saga ADD COLUMN deadline_at timestamptz`] },
  {
    version: 3,
    statements: [`CREATE INDEX saga_ended ON {schema}.saga (ended_at) WHERE ended_at IS NOT NULL`],
  },
  {
    version: 4,
    statements: [
      `ALTER TABLE {schema}.saga ADD COLUMN trace jsonb`,
      // Room for the next states of a row beside it: an update that changes no indexed column then touches no index.
      `ALTER TABLE {schema}.saga SET (fillfactor = 70)`,
      // One index where there were two.
      `ALTER TABLE {schema}.saga_event DROP CONSTRAINT saga_event_pkey`,
      `DROP INDEX {schema}.saga_event_saga`,
      `ALTER TABLE {schema}.saga_event ADD PRIMARY KEY (saga, id, seq)`,
      WRITE_FUNCTION,
    ],
  },
  {
    version: 5,
    worksWith: 4,
    statements: [
      // Both stay empty for what a release without them writes: it calls the same function with fewer fields.
      `ALTER TABLE {schema}.saga ADD COLUMN birth text, ADD COLUMN late boolean NOT NULL DEFAULT false`,
      `CREATE INDEX saga_late ON {schema}.saga (name) WHERE late`,
      WRITE_FUNCTION,
    ],
  },
  {
    version: 6,
    worksWith: 4,
    // Which shard it was started for, and under which layout of them: only looked at where there are shards.
    statements: [`ALTER TABLE {schema}.saga ADD COLUMN home text`, WRITE_FUNCTION],
  },
]

const PARTICIPANT_TABLES: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.saga_barrier (
         saga_key text NOT NULL,
         operation text NOT NULL,
         status text NOT NULL,
         reply jsonb,
         created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         PRIMARY KEY (saga_key, operation))`,
    ],
  },
  { version: 2, statements: [`CREATE INDEX saga_barrier_created ON {schema}.saga_barrier (created_at)`] },
  {
    version: 3,
    worksWith: 2,
    statements: [
      // Empty in what a release without them writes: such a row fits whoever asks by its key.
      `ALTER TABLE {schema}.saga_barrier ADD COLUMN reply_to text, ADD COLUMN birth text,
         ADD COLUMN round int NOT NULL DEFAULT 0`,
    ],
  },
  {
    version: 4,
    worksWith: 2,
    // Which prepared transaction holds what was done; empty for all other kinds of participants.
    statements: [`ALTER TABLE {schema}.saga_barrier ADD COLUMN gid text`],
  },
  { version: 5, worksWith: 2, statements: UNDO_TABLES },
  { version: 6, worksWith: 2, statements: UNDO_FUNCTIONS },
  { version: 7, worksWith: 2, statements: [...UNDO_NAMES, ...UNDO_STRAYED] },
  { version: 8, worksWith: 2, statements: UNDO_WATCHED },
]

export const SAGA_PART: SqlPart = { name: 'saga', migrations: SAGA_TABLES, call: 'coordinator.migrate()' }
export const PARTICIPANT_PART: SqlPart = {
  name: 'saga-participant',
  migrations: PARTICIPANT_TABLES,
  call: 'migrateParticipant(sql, schema)',
}

const PURGE_BATCH = 1_000
const PURGE_NAMES = optionNames<{ olderThanMs: number; schema?: string }>({ olderThanMs: true, schema: true })

export async function migrateSagas(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, SAGA_PART.name, SAGA_PART.migrations)
}

/**
 * Deletes what participants remember of steps that are older than `olderThanMs`. A command that comes after that is taken for
 * new, so keep it longer than a message can be late (weeks; at least a day). A compensation of a step that was done, and whose
 * row is gone, is answered with `saga.step_forgotten`: the saga is stuck, so keep it longer than a saga can last.
 * What is undecided stays: what a `tccParticipant` tried and was not told to confirm or cancel, what failed and may have had an
 * effect, what a prepared transaction of an `xaParticipant` belongs to, and what an `undoParticipant` may still have to undo.
 * @param options `schema`: the participant's own, `concordat` by default
 * @returns how many rows
 */
export async function purgeParticipant(
  sql: SqlClient,
  options: { readonly olderThanMs: number; readonly schema?: string | undefined },
): Promise<number> {
  requireSqlClient('purgeParticipant', sql)
  refuseUnknown('purgeParticipant', options, PURGE_NAMES)
  requireInteger('purgeParticipant.olderThanMs', options.olderThanMs, DAY, MAX_AGE_MS)
  const schema = options.schema ?? DEFAULT_SCHEMA
  const query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  const table = `${quoteIdentifier(schema)}.saga_barrier`
  for (let total = 0; ; ) {
    const { rowCount } = await query(
      sql,
      `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM ${table} b WHERE created_at < (SELECT clock_timestamp() - $1::float8 * interval '1 ms')
           AND (gid IS NULL OR gid NOT IN (SELECT gid FROM pg_prepared_xacts))
           -- What is prepared elsewhere is in no list here: kept until it was confirmed or cancelled.
           AND (gid IS NULL OR operation <> 'invoke' OR status NOT IN ('begun', 'ok') OR EXISTS (
             SELECT FROM ${table} e WHERE e.saga_key = b.saga_key AND e.operation IN ('confirm', 'compensate')))
           -- Undecided: it was tried, or may have had an effect, and was neither confirmed nor undone.
           AND (operation <> 'invoke'
             OR NOT (status IN ('begun', 'failed', 'final') OR (status = 'ok' AND coalesce(reply->>'kind', '') = 'tcc'))
             OR EXISTS (SELECT FROM ${table} e WHERE e.saga_key = b.saga_key AND e.operation IN ('confirm', 'compensate')))
           AND NOT EXISTS (SELECT FROM ${quoteIdentifier(schema)}.saga_undo u WHERE u.saga_key = split_part(b.saga_key, E'\\x1f', 1))
         ORDER BY created_at LIMIT ${PURGE_BATCH} FOR UPDATE SKIP LOCKED))`,
      [options.olderThanMs],
    )
    total += rowCount
    if (rowCount < PURGE_BATCH) return total
  }
}

/**
 * Creates the barrier table of a service's participants. Idempotent; safe when several processes start at once.
 * @param schema the participant's own. @default 'concordat'
 */
export async function migrateParticipant(sql: SqlClient, schema: string = DEFAULT_SCHEMA): Promise<void> {
  requireSqlClient('migrateParticipant', sql)
  await migrate(sql, schema, PARTICIPANT_PART.name, PARTICIPANT_PART.migrations)
}
