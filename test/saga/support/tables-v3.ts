import type { SqlClient } from 'concordat/core'

/** The coordinator's tables as version 3 of their migrations left them, before sagas kept a trace. */
const VERSION_3: readonly string[] = [
  'CREATE SCHEMA {schema}',
  `CREATE TABLE {schema}.concordat_migration (
     part text NOT NULL, version int NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (part, version))`,
  `INSERT INTO {schema}.concordat_migration (part, version) VALUES ('saga', 1), ('saga', 2), ('saga', 3)`,
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
  `ALTER TABLE {schema}.saga ADD COLUMN deadline_at timestamptz`,
  `CREATE INDEX saga_ended ON {schema}.saga (ended_at) WHERE ended_at IS NOT NULL`,
  `CREATE OR REPLACE FUNCTION {schema}.saga_write(writes jsonb) RETURNS SETOF int LANGUAGE plpgsql AS $$
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
END $$`,
]

export async function createVersion3(sql: SqlClient, schema: string): Promise<void> {
  for (const statement of VERSION_3) await sql.query(statement.replaceAll('{schema}', schema))
}
