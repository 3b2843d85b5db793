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
  'lock_client lock_dead lock_fence lock_holder lock_key lock_upkeep lock_waiter one_time_token operator_audit ' +
  'pipeline_window saga saga_barrier saga_definition saga_event saga_shard saga_undo saga_undo_image ' +
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
const END_BEFORE_7 = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_end(jsonb, text[]) RETURNS text[] LANGUAGE plpgsql AS $undo$
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  PERFORM pg_catalog.set_config('${SETTING}', '', true);
  RETURN (
    SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', s.nspname, c.relname) ORDER BY s.nspname, c.relname)
    FROM (${WRITTEN} AND n.n > 0) w JOIN pg_catalog.pg_class c ON c.oid = w.oid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
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

/**
 * True: row-level security applies to a role in a table, so that it may not see the rows that are put back, or not write them.
 * False for a role that a policy lets do everything, which is what a provider without `BYPASSRLS` has.
 */
const RULED = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_ruled(rel oid, who oid) RETURNS boolean LANGUAGE sql STABLE
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

/**
 * What is written from here on belongs to no branch: constraint triggers that would write at the commit do so before. Lists
 * what was written since `$1` (what `begin` found) and could not be undone, as JSON: no table among `$2`, and none that has the
 * triggers of its own, unless it was emptied or its rows are kept from the caller. A write that was rolled back to a savepoint
 * is counted by the database all the same, but its lock is gone.
 */
const STRAYED_BEFORE_8 = `CREATE OR REPLACE FUNCTION {schema}.saga_undo_strayed(jsonb, text[]) RETURNS jsonb LANGUAGE plpgsql AS $undo$
DECLARE
  written oid[];
  emptied oid[] := '{}';
  files numeric;
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  PERFORM pg_catalog.set_config('${SETTING}', '', true);
  SELECT pg_catalog.array_agg(w.oid) FILTER (WHERE w.n > coalesce(($1->>w.oid::text)::bigint, 0)), coalesce(sum(w.file), 0)
  INTO written, files FROM (${WRITTEN}) w;
  IF files <> coalesce(($1->>'files')::numeric, files) THEN
    -- A table that was made by this transaction has columns that were, too.
    emptied := ARRAY(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384
      AND ${isFresh('c')} AND ${isLocked('c.oid', 'AccessExclusive')}
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tableoid' AND ${isFresh('a')}));
  END IF;
  IF written IS NULL AND emptied = '{}' THEN
    RETURN '[]';
  END IF;
  RETURN (
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('table', s.table, 'why', s.why) ORDER BY s.table), '[]')
    FROM (
      SELECT c.oid, pg_catalog.format('%I.%I', s.nspname, c.relname) AS table, CASE
          WHEN c.oid = ANY (emptied) THEN 'emptied'
          WHEN NOT EXISTS (SELECT FROM {schema}.saga_undo_table t JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND g.tgenabled IN ('O', 'A')
                AND g.tgfoid = pg_catalog.to_regprocedure($name$\{schema}.saga_undo_row_$name$ || t.id || '()')
            WHERE t.relation = r.oid AND t.name IS NOT DISTINCT FROM pg_catalog.format('%I.%I', q.nspname, r.relname)) THEN 'unprotected'
          WHEN r.relrowsecurity AND {schema}.saga_undo_ruled(r.oid, m.oid) THEN 'ruled' ELSE '' END AS why
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
        JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)
        JOIN pg_catalog.pg_namespace q ON q.oid = r.relnamespace
        JOIN pg_catalog.pg_roles m ON m.rolname = current_user
      WHERE c.oid = ANY (written || emptied) AND NOT (${IS_OURS}) AND r.oid <> ALL (
        SELECT pg_catalog.to_regclass(u) FROM unnest($2) u WHERE pg_catalog.to_regclass(u) IS NOT NULL)) s
    WHERE s.why IN ('emptied', 'ruled')
      OR s.why = 'unprotected' AND ${isLocked('s.oid', 'RowExclusive', 'ShareRowExclusive', 'Exclusive', 'AccessExclusive')});
END $undo$`

export const UNDO_FUNCTIONS: readonly string[] = [BEGIN, END_BEFORE_7, RELEASE]

/** Version 7: the sums of `begin` have files in them. */
export const UNDO_STRAYED: readonly string[] = [RULED, BEGIN, STRAYED_BEFORE_8]
