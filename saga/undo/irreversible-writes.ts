/** A database function for the end of a branch: finds writes that cannot be undone. */
import { IS_OURS, isFresh, isLocked, OWN_TABLES, WRITTEN } from './sql-functions.ts'
import { SETTING } from './tables.ts'

const TRIGGER_OF_TABLE = `g.tgenabled IN ('O', 'A')
    AND g.tgfoid = pg_catalog.to_regprocedure($name$\{schema}.saga_undo_row_$name$ || t.id || '()')`

/** Tells whether writes to table `one` need no closer look: it belongs to this package, or its trigger has seen all of them. */
const IS_CERTAIN = `EXISTS (
      SELECT FROM {schema}.saga_undo_table t JOIN pg_catalog.pg_class r ON r.oid = t.relation
        JOIN pg_catalog.pg_namespace q ON q.oid = r.relnamespace
        JOIN pg_catalog.pg_trigger g ON g.tgrelid = one AND ${TRIGGER_OF_TABLE}
      WHERE t.relation = coalesce(pg_catalog.pg_partition_root(one), one) AND NOT r.relrowsecurity AND NOT ${isFresh('g')}
        AND t.name IS NOT DISTINCT FROM pg_catalog.format('%I.%I', q.nspname, r.relname)
    ) OR EXISTS (
      SELECT FROM pg_catalog.pg_class c WHERE c.oid = one AND c.relnamespace = $name$\{schema}$name$::pg_catalog.regnamespace
        AND c.relname = ANY ('{${OWN_TABLES.join(',')}}'::name[]))`

/**
 * Ends the writes of the branch: constraint triggers that would write at the commit run before. Lists writes since `$1` (the
 * result of `begin`) that cannot be undone, as JSON. These are writes to tables that are neither in `$2` nor have the triggers,
 * and to tables with the triggers that were emptied, whose rows are hidden from the caller, or whose triggers may have missed
 * writes: the handler cleared the setting that identifies the branch, disabled the triggers (`session_replication_role`), or
 * changed them. The database also counts writes that were rolled back to a savepoint, but their locks are released.
 */
export const IRREVERSIBLE_WRITES_FUNCTION = `CREATE FUNCTION {schema}.saga_undo_strayed(jsonb, text[]) RETURNS jsonb LANGUAGE plpgsql AS $undo$
DECLARE
  written oid[];
  emptied oid[] := '{}';
  files numeric;
  is_watched boolean;
  one oid;
  other oid[] := '{}';
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  is_watched := coalesce(pg_catalog.current_setting('${SETTING}', true), '') <> ''
    AND pg_catalog.current_setting('session_replication_role') <> 'replica';
  PERFORM pg_catalog.set_config('${SETTING}', '', true);
  SELECT pg_catalog.array_agg(w.oid) FILTER (WHERE w.n > coalesce(($1->>w.oid::text)::bigint, 0)), coalesce(sum(w.file), 0)
  INTO written, files FROM (${WRITTEN}) w;
  IF files <> coalesce(($1->>'files')::numeric, files) THEN
    -- A table that was made by this transaction has columns that were, too.
    emptied := ARRAY(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384
      AND ${isFresh('c')} AND ${isLocked('c.oid', 'AccessExclusive')}
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tableoid' AND ${isFresh('a')}));
  END IF;
  -- Usually all are protected. Looking each one up keeps the plan, while the query below is planned each time.
  FOREACH one IN ARRAY coalesce(written, '{}') LOOP
    IF NOT is_watched OR NOT (${IS_CERTAIN}) THEN
      other := other || one;
    END IF;
  END LOOP;
  IF other = '{}' AND emptied = '{}' THEN
    RETURN '[]';
  END IF;
  RETURN (
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('table', s.table, 'why', s.why) ORDER BY s.table), '[]')
    FROM (
      SELECT c.oid, pg_catalog.format('%I.%I', s.nspname, c.relname) AS table, CASE
          WHEN c.oid = ANY (emptied) THEN 'emptied'
          WHEN p.fresh IS NULL THEN 'unprotected'
          WHEN NOT is_watched OR p.fresh AND ${isLocked('c.oid', 'ShareRowExclusive', 'AccessExclusive')} THEN 'unwatched'
          WHEN r.relrowsecurity AND {schema}.saga_undo_ruled(r.oid, m.oid) THEN 'ruled' ELSE '' END AS why
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
        JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)
        JOIN pg_catalog.pg_namespace q ON q.oid = r.relnamespace
        JOIN pg_catalog.pg_roles m ON m.rolname = current_user
        LEFT JOIN LATERAL (
          SELECT ${isFresh('g')} AS fresh FROM {schema}.saga_undo_table t JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND ${TRIGGER_OF_TABLE}
          WHERE t.relation = r.oid AND t.name IS NOT DISTINCT FROM pg_catalog.format('%I.%I', q.nspname, r.relname)) p ON true
      WHERE c.oid = ANY (other || emptied) AND NOT (${IS_OURS}) AND r.oid <> ALL (
        SELECT pg_catalog.to_regclass(u) FROM unnest($2) u WHERE pg_catalog.to_regclass(u) IS NOT NULL)) s
    WHERE s.why IN ('emptied', 'ruled')
      OR s.why IN ('unprotected', 'unwatched') AND ${isLocked('s.oid', 'RowExclusive', 'ShareRowExclusive', 'Exclusive', 'AccessExclusive')});
END $undo$`
