/**
 * What a branch asks of its database at its beginning and its end, as functions: PostgreSQL keeps their plans for as long as a
 * connection lives, where a statement of ours is planned anew each time. Parameters have no names, so that none is taken for
 * a column. They run as whoever calls them, and read names as that one does.
 */
import { SETTING } from './tables.ts'

/** The advisory lock of a saga: shared by its branches that are being done. @param owner an expression */
export function lockOf(owner: string): string {
  return `pg_catalog.hashtextextended('concordat:undo:' || ${owner}::text, 0)`
}

/** How many rows of which table this connection has changed; what it did before this transaction may be in it. */
const WRITTEN = `SELECT c.oid, n.n FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
      + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS n) n
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384 AND n.n > 0`

/** The same by the oids of the tables, as JSON. */
export const SUMS = `SELECT coalesce(pg_catalog.jsonb_object_agg(w.oid, w.n), '{}') FROM (${WRITTEN}) w`

/** The tables of this package. A message that leaves is not undone, as it is not with TCC, and neither is what else they keep. */
export const OWN_TABLES: readonly string[] = (
  'concordat_migration cluster_bound cluster_entry cluster_gone cluster_head cluster_log cluster_member ' +
  'cluster_request cluster_tomb inbox outbox outbox_audit outbox_lease outbox_meta outbox_relay lock_audit ' +
  'lock_client lock_dead lock_fence lock_holder lock_key lock_upkeep lock_waiter one_time_token operator_audit ' +
  'pipeline_window saga saga_barrier saga_definition saga_event saga_shard saga_undo saga_undo_image ' +
  'saga_undo_lock saga_undo_table transport_delayed transport_group transport_log transport_partition transport_progress ' +
  'transport_ring transport_segment transport_session transport_tick'
).split(' ')

/** By their exact names, in any schema that has some of them: a table of the user may begin with the same word. */
const IS_OURS = `(c.relname = ANY ('{${OWN_TABLES.join(',')}}'::name[]) OR c.relname ~ '^transport_log_[0-9]$') AND EXISTS (
  SELECT FROM pg_catalog.pg_class m WHERE m.relnamespace = c.relnamespace AND m.relname = 'concordat_migration')`

/**
 * What is written from here on in this transaction is of this branch: `branch, owner, saga_key, reply_to, birth, saga, saga_id,
 * step, also_writes`, what the setting is to be, and `lock_timeout`. `is_free` false: the saga is being decided here.
 */
const BEGIN = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_begin(text, text, text, text, text, text, text, text, text[], text, text,
  OUT is_free boolean, OUT written jsonb) LANGUAGE plpgsql AS $undo$
BEGIN
  IF pg_catalog.current_setting('track_counts') <> 'on' THEN
    RAISE EXCEPTION 'track_counts is off, so nobody can tell which tables a branch writes to: set it on for this database'
      USING ERRCODE = '55000';
  END IF;
  PERFORM pg_catalog.set_config('${SETTING}', $10, true), pg_catalog.set_config('lock_timeout', $11, true);
  INSERT INTO {schema}.saga_undo (branch, owner, saga_key, reply_to, birth, saga, saga_id, step, also_writes)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (branch) DO NOTHING;
  is_free := pg_catalog.pg_try_advisory_xact_lock_shared(${lockOf('$2')});
  written := (${SUMS});
END $undo$`

/**
 * What is written from here on is of nobody: constraint triggers that would write at the commit do so before. The tables that were
 * written to since `$1` (what `begin` found), are not protected, and not among `$2`.
 */
const END = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_end(jsonb, text[]) RETURNS text[] LANGUAGE plpgsql AS $undo$
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  PERFORM pg_catalog.set_config('${SETTING}', '', true);
  RETURN (
    SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', s.nspname, c.relname) ORDER BY s.nspname, c.relname)
    FROM (${WRITTEN}) w JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
    WHERE w.n > coalesce(($1->>w.oid::text)::bigint, 0) AND NOT (${IS_OURS})
      AND coalesce(pg_catalog.pg_partition_root(c.oid), c.oid) <> ALL (
        SELECT pg_catalog.to_regclass(u) FROM unnest($2) u WHERE pg_catalog.to_regclass(u) IS NOT NULL)
      AND NOT EXISTS (SELECT FROM {schema}.saga_undo_table t JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid
        JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid AND f.proname LIKE 'saga\\_undo\\_row\\_%'
        WHERE t.relation = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid) AND g.tgenabled IN ('O', 'A')));
END $undo$`

/** Forgets the branch. With the last one of its saga in this database its rows are free. False: there is none. */
const RELEASE = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_release(text) RETURNS boolean LANGUAGE plpgsql AS $undo$
DECLARE
  own text;
BEGIN
  SELECT u.owner INTO own FROM {schema}.saga_undo u WHERE u.branch = $1;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM FROM {schema}.saga_undo u WHERE u.owner = own ORDER BY u.branch FOR UPDATE;
  DELETE FROM {schema}.saga_undo_image i WHERE i.branch = $1;
  DELETE FROM {schema}.saga_undo u WHERE u.branch = $1;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM {schema}.saga_undo_lock l WHERE l.owner = own
    AND NOT EXISTS (SELECT FROM {schema}.saga_undo u WHERE u.owner = own);
  RETURN true;
END $undo$`

export const UNDO_FUNCTIONS: readonly string[] = [BEGIN, END, RELEASE]
