/** The tables of the saga store and of participants. */
import { DAY } from '../core/clock.ts'
import { requireInteger } from '../core/errors.ts'
import { optionNames, refuseUnknown } from '../core/options.ts'
import { migrate, ownQuery, quoteIdentifier, requireSqlClient, type SqlClient, type SqlMigration } from '../core/sql.ts'

/**
 * Applies a list of writes in key order (two writers of the same sagas can not deadlock) and returns the numbers of those
 * that fitted: revision 1 inserts, a later one replaces the revision before it. A function, because its plans are cached
 * for the session: planning cost four times as much as the write itself.
 */
const WRITE_FUNCTION = `CREATE FUNCTION {schema}.saga_write(writes jsonb) RETURNS SETOF int LANGUAGE plpgsql AS $$
DECLARE w record;
BEGIN
  FOR w IN
    SELECT r.*, clock_timestamp() + r.wake_ms * interval '1 millisecond' AS due,
      CASE WHEN r.status IN ('completed', 'compensated') THEN clock_timestamp() END AS ended
    FROM jsonb_to_recordset(writes) AS r(n int, name text, id text, version int, graph_hash text, status text,
      state jsonb, input jsonb, input_hash text, revision bigint, owner text, epoch bigint, wake_ms float8,
      mail jsonb, timeline jsonb)
    ORDER BY r.name, r.id
  LOOP
    IF w.revision = 1 THEN
      INSERT INTO {schema}.saga (name, id, version, graph_hash, status, state, input, input_hash, revision, owner, epoch,
        due_at, ended_at)
      VALUES (w.name, w.id, w.version, w.graph_hash, w.status, w.state, w.input, w.input_hash, 1, w.owner, w.epoch,
        w.due, w.ended)
      ON CONFLICT (name, id) DO NOTHING;
    ELSE
      UPDATE {schema}.saga s SET state = w.state, status = w.status, revision = w.revision, owner = w.owner,
        epoch = w.epoch, due_at = w.due, mail = w.mail, updated_at = clock_timestamp(), ended_at = w.ended
      WHERE s.name = w.name AND s.id = w.id AND s.revision = w.revision - 1;
    END IF;
    IF FOUND THEN
      INSERT INTO {schema}.saga_event (saga, id, kind, step, detail)
      SELECT w.name, w.id, e.value->>'kind', e.value->>'step', e.value->'detail'
      FROM jsonb_array_elements(w.timeline) WITH ORDINALITY AS e(value, n) ORDER BY e.n;
      RETURN NEXT w.n;
    END IF;
  END LOOP;
END $$`

const WRITE_FUNCTION_2 = `CREATE OR REPLACE FUNCTION {schema}.saga_write(writes jsonb) RETURNS SETOF int LANGUAGE plpgsql AS $$
DECLARE w record;
BEGIN
  FOR w IN
    SELECT r.*, at, at + r.wake_ms * interval '1 millisecond' AS due,
      at + r.deadline_ms * interval '1 millisecond' AS deadline,
      CASE WHEN r.status IN ('completed', 'compensated') THEN at END AS ended
    FROM clock_timestamp() AS at, jsonb_to_recordset(writes) AS r(n int, name text, id text, version int, graph_hash text, status text,
      state jsonb, input jsonb, input_hash text, revision bigint, owner text, epoch bigint, wake_ms float8,
      mail jsonb, timeline jsonb, keep_due boolean, heed boolean, deadline_ms float8)
    ORDER BY r.name, r.id
  LOOP
    IF w.revision = 1 THEN
      INSERT INTO {schema}.saga (name, id, version, graph_hash, status, state, input, input_hash, revision, owner, epoch,
        due_at, deadline_at, ended_at, created_at, updated_at)
      VALUES (w.name, w.id, w.version, w.graph_hash, w.status, w.state, w.input, w.input_hash, 1, w.owner, w.epoch,
        CASE WHEN w.heed THEN LEAST(w.due, w.deadline) ELSE w.due END, w.deadline, w.ended, w.at, w.at)
      ON CONFLICT (name, id) DO NOTHING;
    ELSE
      UPDATE {schema}.saga s SET state = w.state, status = w.status, revision = w.revision, owner = w.owner,
        epoch = w.epoch, mail = w.mail, updated_at = w.at, ended_at = w.ended,
        due_at = CASE WHEN w.keep_due THEN s.due_at WHEN w.heed THEN LEAST(w.due, s.deadline_at) ELSE w.due END
      WHERE s.name = w.name AND s.id = w.id AND s.revision = w.revision - 1;
    END IF;
    IF FOUND THEN
      INSERT INTO {schema}.saga_event (saga, id, kind, step, detail)
      SELECT w.name, w.id, e.value->>'kind', e.value->>'step', e.value->'detail'
      FROM jsonb_array_elements(w.timeline) WITH ORDINALITY AS e(value, n) ORDER BY e.n;
      RETURN NEXT w.n;
    END IF;
  END LOOP;
END $$`

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
      WRITE_FUNCTION,
    ],
  },
  { version: 2, statements: [`ALTER TABLE {schema}.saga ADD COLUMN deadline_at timestamptz`, WRITE_FUNCTION_2] },
  {
    version: 3,
    statements: [`CREATE INDEX saga_ended ON {schema}.saga (ended_at) WHERE ended_at IS NOT NULL`],
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
]

export const DEFAULT_SCHEMA = 'concordat'
const PURGE_BATCH = 1_000
const PURGE_NAMES = optionNames<{ olderThanMs: number; schema?: string }>({ olderThanMs: true, schema: true })

export async function migrateSagas(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'saga', SAGA_TABLES)
}

/**
 * Deletes what participants remember of steps that are older than `olderThanMs`. A command or a compensation that comes
 * after that is taken for new, so keep it longer than a saga can last and a message can be late (weeks; at least a day).
 * @param schema the participant's own. @default 'concordat'
 * @returns how many rows
 */
export async function purgeParticipant(
  sql: SqlClient,
  options: { readonly olderThanMs: number; readonly schema?: string | undefined },
): Promise<number> {
  requireSqlClient('purgeParticipant', sql)
  refuseUnknown('purgeParticipant', options, PURGE_NAMES)
  requireInteger('purgeParticipant.olderThanMs', options.olderThanMs, DAY)
  const schema = options.schema ?? DEFAULT_SCHEMA
  const query = ownQuery(schema, 'migrateParticipant(sql, schema)')
  const table = `${quoteIdentifier(schema)}.saga_barrier`
  for (let total = 0; ; ) {
    const { rowCount } = await query(
      sql,
      `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM ${table} WHERE created_at < clock_timestamp() - $1::float8 * interval '1 ms'
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
  await migrate(sql, schema, 'saga-participant', PARTICIPANT_TABLES)
}
