/** The tables of the saga store and of participants. */
import { migrate, requireSqlClient, type SqlClient, type SqlMigration } from '../core/sql.ts'

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
]

export const DEFAULT_SCHEMA = 'concordat'

export async function migrateSagas(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'saga', SAGA_TABLES)
}

/**
 * Creates the barrier table of a service's participants. Idempotent; safe when several processes start at once.
 * @param schema the participant's own. @default 'concordat'
 */
export async function migrateParticipant(sql: SqlClient, schema: string = DEFAULT_SCHEMA): Promise<void> {
  requireSqlClient('migrateParticipant', sql)
  await migrate(sql, schema, 'saga-participant', PARTICIPANT_TABLES)
}
