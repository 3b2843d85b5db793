/** The tables of the saga store and of participants. */
import { migrate, type SqlClient, type SqlMigration } from '../core/sql.ts'

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
  await migrate(sql, schema, 'saga-participant', PARTICIPANT_TABLES)
}
