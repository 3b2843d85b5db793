/**
 * Statements at the beginning and the end of a branch, as database functions, because PostgreSQL keeps their plans as long as a
 * connection lives, but plans a plain statement each time. Parameters have no names, to avoid confusion with columns. Functions
 * run with the rights of their caller, and resolve names as the caller does.
 */
import { BY_KEY, SETTING } from './tables.ts'

/** Returns the advisory lock of a saga, shared by its running branches. @param owner expression */
export function lockOf(owner: string): string {
  return `pg_catalog.hashtextextended('concordat:undo:' || ${owner}::text, 0)`
}

/**
 * Number of rows that this connection has changed by table, and the file of each table; may include changes before this
 * transaction.
 */
export const WRITTEN = `SELECT c.oid, n.n, c.relfilenode::bigint AS file FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
      + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS n) n
  WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384`

/** The same by the oids of the tables, as JSON, and a sum of the files, which a TRUNCATE changes. */
export const SUMS = `SELECT coalesce(pg_catalog.jsonb_object_agg(w.oid, w.n) FILTER (WHERE w.n > 0), '{}')
  || pg_catalog.jsonb_build_object('files', coalesce(sum(w.file), 0)) FROM (${WRITTEN}) w`

/** Tables of this package. A sent message is not undone, as with TCC, and neither are their other rows. */
export const OWN_TABLES: readonly string[] = (
  'concordat_migration cluster_bound cluster_entry cluster_gone cluster_head cluster_log cluster_member ' +
  'cluster_request cluster_tomb inbox outbox outbox_audit outbox_lease outbox_meta outbox_relay lock_audit ' +
  'lock_client lock_dead lock_fence lock_guard lock_holder lock_key lock_upkeep lock_waiter one_time_token operator_audit ' +
  'pipeline_window saga saga_barrier saga_barrier_purge saga_definition saga_event saga_home saga_message saga_shard saga_undo saga_undo_image ' +
  'saga_undo_lock saga_undo_table transport_delayed transport_group transport_log transport_partition transport_progress ' +
  'transport_ring transport_segment transport_session transport_tick'
).split(' ')

/** Recognised by their exact names, in any schema that has some of them, because a user's table may have the same prefix. */
export const IS_OURS = `(c.relname = ANY ('{${OWN_TABLES.join(',')}}'::name[]) OR c.relname ~ '^transport_log_[0-9]$') AND EXISTS (
  SELECT FROM pg_catalog.pg_class m WHERE m.relnamespace = c.relnamespace AND m.relname = 'concordat_migration')`

/**
 * Assigns further writes of the transaction to the branch: `branch, owner, saga_key, reply_to, birth, saga, saga_id, step,
 * also_writes`, the value of the setting, and `lock_timeout`. `is_free` false: the saga is being decided here.
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

/**
 * Deletes the branch's images. With the last branch of its saga in this database its rows are released. False: there was none.
 */
const RELEASE = `CREATE FUNCTION {schema}.saga_undo_release(text) RETURNS boolean LANGUAGE plpgsql ${BY_KEY} AS $undo$
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
 * True if row-level security applies to a role in a table, so that it may not see the rows to restore, or not write them. False
 * for a role that a policy allows everything, as at providers without `BYPASSRLS`.
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

/** Tells whether this session has one of these locks on a table. @param oid expression */
export const isLocked = (oid: string, ...modes: readonly string[]): string =>
  `EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.pid = pg_catalog.pg_backend_pid()
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
     AND l.relation = ${oid} AND l.mode IN (${modes.map((mode) => `'${mode}Lock'`).join(', ')}))`

/** True for a row that this transaction wrote, or that a transaction that began later has committed. @param alias of a catalog */
export const isFresh = (alias: string): string => `pg_catalog.age(${alias}.xmin) <= 0`

export const UNDO_FUNCTIONS: readonly string[] = [BEGIN, RELEASE, RULED]
