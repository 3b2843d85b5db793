/**
 * The log of all channels, in one schema. Sending and reading a message updates and deletes nothing: messages are in a ring of
 * segments that are truncated, positions and progress of groups are appended.
 */
import type { SqlMigration, SqlPart } from '../../core/migrate.ts'
import { quoteIdentifier } from '../../core/sql.ts'
import { MESSAGE_FUNCTIONS } from './functions.ts'
import { UPKEEP_FUNCTIONS } from './upkeep-functions.ts'

/** Number of segments: one is written; the others are empty, or wait for their readers. Every poll probes each. */
const SEGMENTS = 4

/** Settings of tables that grow and shrink indefinitely: vacuum runs by row count, and never locks the table to shrink it. */
const APPENDED =
  'WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0, ' +
  'autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000, vacuum_truncate = false)'

/**
 * No plan needs statistics of a segment. An ANALYZE of a full one takes seconds during which it cannot be freed, and does not
 * yield, because the wait for it is too short.
 */
const NOT_ANALYZED = 'autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2147483647'

const segments = (): number[] => Array.from({ length: SEGMENTS }, (_, k) => k)

/**
 * Columns and tables of the log:
 * - `key` is bytes: `text` refuses a NUL. `meta` is `json`: `jsonb` refuses NUL and lone surrogates.
 * - `tick` assigns positions `first` to `first + n - 1`; the newest one of a partition is the state of the assignment: `snap` is
 *   the snapshot that it covers.
 * - `group`: `settles_in` says that its members have settled in their own transactions, without an inbox.
 * - `session`: `lease_ms` is the distance of `live_until` when it was written.
 * - `progress`: the highest `ver` is the position of a group in a partition. `handed`: messages below it may have been lent.
 */
const MIGRATIONS: readonly SqlMigration[] = [
  {
    version: 1,
    statements: [
      `CREATE TABLE {schema}.transport_partition (
         id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, destination text NOT NULL, n int NOT NULL,
         retention_ms bigint, UNIQUE (destination, n))`,
      `CREATE TABLE {schema}.transport_group (
         id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, destination text NOT NULL, name text NOT NULL,
         created_at timestamptz NOT NULL DEFAULT clock_timestamp(), settles_in boolean NOT NULL DEFAULT false,
         UNIQUE (destination, name))`,
      `CREATE TABLE {schema}.transport_ring (
         one boolean PRIMARY KEY DEFAULT true CHECK (one), current smallint NOT NULL DEFAULT 0,
         since timestamptz NOT NULL DEFAULT clock_timestamp())`,
      `INSERT INTO {schema}.transport_ring DEFAULT VALUES`,
      `CREATE TABLE {schema}.transport_segment (
         segment smallint PRIMARY KEY, closed_at timestamptz, is_empty boolean NOT NULL DEFAULT true)`,
      `INSERT INTO {schema}.transport_segment (segment, is_empty)
         SELECT k, k > 0 FROM generate_series(0, ${SEGMENTS - 1}) k`,
      `CREATE TABLE {schema}.transport_log (
         xid xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigserial NOT NULL,
         segment smallint NOT NULL, part int NOT NULL, key bytea, meta json NOT NULL, body bytea
       ) PARTITION BY LIST (segment)`,
      ...segments().map(
        (k) =>
          `CREATE TABLE {schema}.transport_log_${k} PARTITION OF {schema}.transport_log FOR VALUES IN (${k})
           WITH (autovacuum_vacuum_insert_threshold = -1, ${NOT_ANALYZED})`,
      ),
      `CREATE INDEX transport_log_place ON {schema}.transport_log (part, xid, seq)`,
      `CREATE TABLE {schema}.transport_tick (
         part int NOT NULL, first bigint NOT NULL, n int NOT NULL, snap pg_snapshot NOT NULL,
         segments smallint[] NOT NULL, xids xid8[] NOT NULL, seqs bigint[] NOT NULL, PRIMARY KEY (part, first)
       ) ${APPENDED}`,
      `CREATE TABLE {schema}.transport_progress (
         grp int NOT NULL, part int NOT NULL, ver bigint NOT NULL, epoch bigint NOT NULL, owner text,
         settled bigint NOT NULL, handed bigint NOT NULL, done bigint[] NOT NULL DEFAULT '{}',
         PRIMARY KEY (grp, part, ver)
       ) ${APPENDED}`,
      `CREATE TABLE {schema}.transport_session (
         owner text PRIMARY KEY, live_until timestamptz NOT NULL, lease_ms int NOT NULL DEFAULT 0, groups int[] NOT NULL DEFAULT '{}'
       ) WITH (fillfactor = 50)`,
      `CREATE TABLE {schema}.transport_delayed (
         due timestamptz NOT NULL, seq bigserial NOT NULL, wait_ms float8, part int NOT NULL,
         key bytea, meta json NOT NULL, body bytea, PRIMARY KEY (due, seq)
       ) ${APPENDED}`,
      ...MESSAGE_FUNCTIONS,
      ...UPKEEP_FUNCTIONS,
    ],
  },
]

export const TRANSPORT_PART: SqlPart = {
  name: 'transport',
  migrations: MIGRATIONS,
  call: 'postgresTransport().migrate()',
}

/** Quoted, schema-qualified names. */
export type TransportTables = Readonly<Record<keyof typeof NAMES, string>>

const NAMES = {
  partition: 'transport_partition',
  group: 'transport_group',
  ring: 'transport_ring',
  segment: 'transport_segment',
  log: 'transport_log',
  tick: 'transport_tick',
  progress: 'transport_progress',
  session: 'transport_session',
  delayed: 'transport_delayed',
  provision: 'transport_provision',
  claim: 'transport_claim',
  fetch: 'transport_fetch',
  follow: 'transport_follow',
  peek: 'transport_peek',
  giveBack: 'transport_give_back',
  pending: 'transport_pending',
  ends: 'transport_ends',
  lag: 'transport_lag',
  promote: 'transport_promote',
  clear: 'transport_clear',
  truncate: 'transport_truncate',
  rotate: 'transport_rotate',
  holders: 'transport_holders',
  isRestored: 'transport_is_restored',
  repair: 'transport_repair',
} as const

export function transportTables(schema: string): TransportTables {
  const quoted = quoteIdentifier(schema)
  const qualified = Object.entries(NAMES).map(([key, name]) => [key, `${quoted}.${name}`])
  return Object.freeze(Object.fromEntries(qualified) as Record<keyof typeof NAMES, string>)
}
