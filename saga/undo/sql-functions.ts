/**
 * Statements of a branch at its beginning and its end, as functions: PostgreSQL keeps their plans for as long as a connection lives, while a
 * plain statement is planned anew each time. Parameters have no names, so that none is taken for a column. They run as their caller, and
 * resolve names as the caller does.
 */
import { SETTING } from './tables.ts'

/** The advisory lock of a saga: shared by its branches that are being done. @param owner an expression */
export function lockOf(owner: string): string {
  return `pg_catalog.hashtextextended('concordat:undo:' || ${owner}::text, 0)`
}

/**
 * How many rows of which table this connection has changed, and the file that each table is in; what it did before this
 * transaction may be in it.
 */
export const WRITTEN = `SELECT c.oid, n.n, c.relfilenode::bigint AS file FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
      + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS n) n
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384`

/** The same by the oids of the tables, as JSON, and a sum of the files: a TRUNCATE changes it. */
export const SUMS = `SELECT coalesce(pg_catalog.jsonb_object_agg(w.oid, w.n) FILTER (WHERE w.n > 0), '{}')
  || pg_catalog.jsonb_build_object('files', coalesce(sum(w.file), 0)) FROM (${WRITTEN}) w`

/** The tables of this package. A message that leaves is not undone, as it is not with TCC, and neither is what else they keep. */
export const OWN_TABLES: readonly string[] = (
  'concordat_migration cluster_bound cluster_entry cluster_gone cluster_head cluster_log cluster_member ' +
  'cluster_request cluster_tomb inbox outbox outbox_audit outbox_lease outbox_meta outbox_relay lock_audit ' +
  'lock_client lock_dead lock_fence lock_guard lock_holder lock_key lock_upkeep lock_waiter one_time_token operator_audit ' +
  'pipeline_window saga saga_barrier saga_barrier_purge saga_definition saga_event saga_home saga_message saga_shard saga_undo saga_undo_image ' +
  'saga_undo_lock saga_undo_table transport_delayed transport_group transport_log transport_partition transport_progress ' +
  'transport_ring transport_segment transport_session transport_tick'
).split(' ')

/** By their exact names, in any schema that has some of them: a table of the user may begin with the same word. */
export const IS_OURS = `(c.relname = ANY ('{${OWN_TABLES.join(',')}}'::name[]) OR c.relname ~ '^transport_log_[0-9]$') AND EXISTS (
  SELECT FROM pg_catalog.pg_class m WHERE m.relnamespace = c.relnamespace AND m.relname = 'concordat_migration')`

/**
 * What is written from here on in this transaction is of this branch: `branch, owner, saga_key, reply_to, birth, saga, saga_id,
 * step, also_writes`, what the setting is to be, and `lock_timeout`. `is_free` false: the saga is being decided here.
 */
const BEGIN = `CREATE FUNCTION {schema}.saga_undo_begin(text, text, text, text, text, text, text, text, text[], text, text,
  OUT is_free boolean, OUT written jsonb) LANGUAGE plpgsql AS $undo$
BEGIN
  IF pg_catalog.current_setting('track_counts') <> 'on' THEN
    RAISE EXCEPTION 'track_counts is off, so the tables that a branch writes to are unknown: set it on for this database'
      USING ERRCODE = '55000';
  END IF;
  PERFORM pg_catalog.set_config('${SETTING}', $10, true), pg_catalog.set_config('lock_timeout', $11, true);
  INSERT INTO {schema}.saga_undo (branch, owner, saga_key, reply_to, birth, saga, saga_id, step, also_writes)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (branch) DO NOTHING;
  is_free := pg_catalog.pg_try_advisory_xact_lock_shared(${lockOf('$2')});
  written := (${SUMS});
END $undo$`

/** Forgets the branch. With the last one of its saga in this database its rows are free. False: there is none. */
const RELEASE = `CREATE FUNCTION {schema}.saga_undo_release(text) RETURNS boolean LANGUAGE plpgsql AS $undo$
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

/**
 * True: row-level security applies to a role in a table, so that it may not see the rows that are put back, or not write them.
 * False for a role that a policy lets do everything, which is what a provider without `BYPASSRLS` has.
 */
const RULED = `CREATE FUNCTION {schema}.saga_undo_ruled(rel oid, who oid) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $undo$
  WITH policy AS (
    SELECT p.polpermissive, p.polcmd = '*' AND coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
      AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true' AS is_open
    FROM pg_policy p WHERE p.polrelid = $1 AND EXISTS (
      SELECT FROM unnest(p.polroles) AS u(role) WHERE u.role = 0 OR pg_has_role($2, u.role, 'USAGE')))
  SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
    AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
    AND (EXISTS (SELECT FROM policy WHERE NOT polpermissive) OR NOT EXISTS (SELECT FROM policy WHERE polpermissive AND is_open))
  FROM pg_class c, pg_roles r WHERE c.oid = $1 AND r.oid = $2
$undo$`

/** This session has one of these locks on a table. @param oid an expression */
export const isLocked = (oid: string, ...modes: readonly string[]): string =>
  `EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.pid = pg_catalog.pg_backend_pid()
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
     AND l.relation = ${oid} AND l.mode IN (${modes.map((mode) => `'${mode}Lock'`).join(', ')}))`

/** A row that this transaction wrote, or that another one which began later has committed. @param alias of a catalog */
export const isFresh = (alias: string): string => `pg_catalog.age(${alias}.xmin) <= 0`

export const UNDO_FUNCTIONS: readonly string[] = [BEGIN, RELEASE, RULED]
