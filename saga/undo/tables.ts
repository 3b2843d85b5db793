/**
 * The tables and triggers of undo, in the schema of the participant.
 *
 * | table              | a row is                                                                               |
 * |--------------------|----------------------------------------------------------------------------------------|
 * | `saga_undo_table`  | a table that is protected                                                              |
 * | `saga_undo`        | a branch: one step of one saga that wrote here and is not decided                      |
 * | `saga_undo_image`  | a row as it was before and after one change of a branch                                |
 * | `saga_undo_lock`   | a row, told by a unique key, that a saga holds until its last branch here is decided   |
 *
 * Images have each value as the text that its type writes, by the name of its column: exact for every type, and readable
 * after an `ALTER TABLE`. The settings that such texts depend on are fixed by the function.
 *
 * The trigger is an AFTER trigger: it sees what other triggers made of a row, and it runs once the row itself is locked. So
 * a row is never wanted by two transactions at the moment its key is looked up. It refuses and does not wait: a writer
 * that waited here would hold the row that the cancellation needs.
 *
 * Its name is before that of most others, so that what they do to other rows is written after the image of its cause.
 */
import { TEXT_SETTINGS } from './row-text.ts'

/** SQLSTATE of a write to a row that a saga holds: `lock_not_available`. */
export const ROW_HELD = '55P03'
/** Replaces a value that must not appear in messages. */
export const HIDDEN = '(hidden)'
/** Constraint name in the error, which distinguishes it from a `lock_timeout`. */
export const ROW_HELD_CONSTRAINT = 'concordat_undo'
/** SQLSTATE of an undo that would change a row which its transaction did not change. */
export const STRAYED = 'CC011'
/** Setting, local to a transaction, that identifies the branch that writes. */
export const SETTING = 'concordat.undo'
export const TRIGGER = '_concordat_undo'
export const TRUNCATE_TRIGGER = '_concordat_undo_truncate'

/** Settings for functions that write texts. */
export const FIXED: string = Object.entries(TEXT_SETTINGS)
  .map(([name, value]) => `SET "${name}" = '${value}'`)
  .join(' ')

/**
 * For functions that look up row locks. Otherwise a connection keeps a plan from when the table was nearly empty, which reads every
 * lock for each written row, so the cost of a statement grows with the square of its rows.
 */
export const BY_KEY = 'SET enable_seqscan = off SET enable_bitmapscan = off'

/** Formats a primary key for display, without values that must not appear in messages. */
const SHOWN = `CREATE FUNCTION {schema}.saga_undo_shown(rel regclass, key text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $undo$
  SELECT jsonb_object_agg(k.key, CASE WHEN k.key = ANY(t.hidden) THEN '${HIDDEN}' ELSE k.value END)::text
  FROM {schema}.saga_undo_table t, jsonb_each_text($2::jsonb) k WHERE t.relation = $1
$undo$`

/**
 * Raises an error if another owner holds one of the keys; `owner` NULL: a writer outside of sagas. The error contains only the
 * primary key: `rows_of` has these, the written row last.
 */
const HELD = `CREATE FUNCTION {schema}.saga_undo_refuse(rel regclass, keys text[], rows_of text[], owner text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp ${BY_KEY} AS $undo$
DECLARE
  held record;
BEGIN
  SELECT l.key, coalesce(l.key = ANY($3), false) AS is_row, (SELECT u.saga || '/' || u.saga_id FROM {schema}.saga_undo u WHERE u.owner = l.owner LIMIT 1) AS saga INTO held
  FROM {schema}.saga_undo_lock l
  WHERE l.relation = $1 AND l.key = ANY($2) AND l.owner IS DISTINCT FROM $4 ORDER BY 2 DESC, 1 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'row % of % % held by saga % until that is decided: try the transaction again',
      {schema}.saga_undo_shown($1, CASE WHEN held.is_row THEN held.key ELSE coalesce($3[2], $3[1]) END), $1,
      CASE WHEN held.is_row THEN 'is' ELSE 'has a unique value that is' END, held.saga
      USING ERRCODE = '${ROW_HELD}', CONSTRAINT = '${ROW_HELD_CONSTRAINT}';
  END IF;
END $undo$`

/** Returns the texts of rows by the names of their columns, before and after a change. `r_new` may equal `r_old`. */
const TEXTS = `CREATE FUNCTION {schema}.saga_undo_texts(rel oid, r_old record, r_new record, OUT old_row jsonb, OUT new_row jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp ${FIXED} AS $undo$
DECLARE
  names text[];
  texts_of text[];
BEGIN
  SELECT array_agg(a.attname::text), ARRAY[
    string_agg(format('CASE num_nulls(($1).%1$I) WHEN 0 THEN concat(($1).%1$I) END', a.attname), ','),
    string_agg(format('CASE num_nulls(($2).%1$I) WHEN 0 THEN concat(($2).%1$I) END', a.attname), ',')]
  INTO names, texts_of FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v';
  EXECUTE format('SELECT jsonb_object($3, ARRAY[%s]::text[]), jsonb_object($3, ARRAY[%s]::text[])', texts_of[1], texts_of[2]) INTO old_row, new_row USING r_old, r_new, names;
END $undo$`

/** Action of a table's trigger on a change, once it has the keys. Returns the branch that needs an image; NULL: none. */
const CHANGED = `CREATE FUNCTION {schema}.saga_undo_changed(rel regclass, old_keys text[], new_keys text[])
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $undo$
DECLARE
  me CONSTANT jsonb := nullif(current_setting('${SETTING}', true), '');
  one text;
BEGIN
  IF me->>'by' = 'operator' THEN
    RETURN NULL;
  END IF;
  IF me IS NULL THEN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
      -- A row that was taken after this snapshot is not seen, but it is in the index: 40001.
      FOREACH one IN ARRAY array_remove(coalesce(new_keys, '{}'), NULL) LOOP
        INSERT INTO {schema}.saga_undo_lock (relation, key, owner) VALUES (rel, one, '') ON CONFLICT DO NOTHING;
        IF FOUND THEN
          DELETE FROM {schema}.saga_undo_lock l WHERE l.relation = rel AND l.key = one;
        END IF;
      END LOOP;
    END IF;
    PERFORM {schema}.saga_undo_refuse(rel, old_keys || new_keys, ARRAY[old_keys[1], new_keys[1]], NULL);
    RETURN NULL;
  END IF;
  IF me->>'schema' <> $name$\{schema}$name$ THEN
    RAISE EXCEPTION '% is protected in schema %, and written by a participant of schema %: give both the same schema', rel, $name$\{schema}$name$, me->>'schema'
      USING ERRCODE = '0A000';
  END IF;
  IF me->>'by' = 'undo' THEN
    FOREACH one IN ARRAY array_remove(ARRAY[old_keys[1], new_keys[1]], NULL) LOOP
      IF NOT EXISTS (SELECT FROM {schema}.saga_undo_lock l WHERE l.relation = rel AND l.key = one AND l.owner = me->>'owner') THEN
        IF old_keys IS NULL AND me ? 'branch' THEN
          -- A trigger adds a row to what is put back, as to an audit table: it is kept, to be taken away again.
          INSERT INTO {schema}.saga_undo_lock (relation, key, owner)
          SELECT rel, k, me->>'owner' FROM unnest(new_keys) AS k WHERE k IS NOT NULL ON CONFLICT DO NOTHING;
          PERFORM {schema}.saga_undo_refuse(rel, new_keys, ARRAY[NULL, new_keys[1]], me->>'owner');
          RETURN me->>'branch';
        END IF;
        RAISE EXCEPTION 'to undo it would also change row % of %, which the transaction did not change: a foreign key or a trigger takes it along. Take that row away or make the foreign key NO ACTION, or name the table in alsoWrites of undoParticipant() and call undo.unprotect() for it once nothing of it waits; then retry the saga. undo.settle() with accept leaves what the step did',
          {schema}.saga_undo_shown(rel, one), rel USING ERRCODE = '${STRAYED}';
      END IF;
    END LOOP;
    RETURN NULL;
  END IF;
  INSERT INTO {schema}.saga_undo_lock (relation, key, owner)
  SELECT rel, k, me->>'owner' FROM unnest(old_keys || new_keys[1]) AS k WHERE k IS NOT NULL ON CONFLICT DO NOTHING;
  PERFORM {schema}.saga_undo_refuse(rel, old_keys || new_keys, ARRAY[old_keys[1], new_keys[1]], me->>'owner');
  RETURN me->>'branch';
END $undo$`

/** Raises an error if another saga than the writing one holds a key. `wanted`: rows with the columns of the key. */
const CHECK = `CREATE FUNCTION {schema}.saga_undo_check(rel regclass, wanted jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp ${FIXED} AS $undo$
DECLARE
  keys_of text;
  all_keys text[];
  keys text[] := '{}';
  one record;
BEGIN
  SELECT t.keys_of INTO keys_of FROM {schema}.saga_undo_table t WHERE t.relation = rel;
  FOR one IN EXECUTE format('SELECT r FROM jsonb_array_elements($1) AS w(v), LATERAL jsonb_populate_record(NULL::%s, w.v) AS r', rel) USING wanted LOOP
    EXECUTE keys_of INTO all_keys USING one.r;
    keys := keys || all_keys[1];
  END LOOP;
  PERFORM {schema}.saga_undo_refuse(rel, keys, keys, nullif(current_setting('${SETTING}', true), '')::jsonb->>'owner');
END $undo$`

const TRUNCATE = `CREATE FUNCTION {schema}.saga_undo_truncate() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $undo$
BEGIN
  RAISE EXCEPTION 'TRUNCATE of % cannot be undone, and is refused: delete the rows, or call undo.unprotect() before', TG_RELID::regclass
    USING ERRCODE = '0A000';
END $undo$`

/** Returns a text as a type currently writes it; NULL if the type refuses it. */
const AS_TYPE = `CREATE FUNCTION {schema}.saga_undo_as(value text, type text) RETURNS text LANGUAGE plpgsql STABLE AS $undo$
DECLARE
  written text;
BEGIN
  EXECUTE format('SELECT concat($1::%s)', type) INTO written USING value;
  RETURN written;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $undo$`

/** Keeps barrier rows of undecided branches when old rows are deleted. */
const KEPT = `CREATE FUNCTION {schema}.saga_undo_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $undo$
BEGIN
  IF EXISTS (SELECT FROM {schema}.saga_undo u 
    WHERE u.saga_key = OLD.saga_key AND u.birth = OLD.birth) THEN
    RETURN NULL;
  END IF;
  RETURN OLD;
END $undo$`

/**
 * `id`: part of the names of a table's functions, `name`: the name of the table. Object ids would not do: after a restored dump
 * they could belong to another table, and a table that was swapped by renaming would not be noticed.
 */
export const UNDO_TABLES: readonly string[] = [
  `CREATE TABLE {schema}.saga_undo_table (
     relation regclass PRIMARY KEY,
     id text NOT NULL UNIQUE DEFAULT pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''),
     name text,
     keys jsonb NOT NULL,
     keys_of text NOT NULL,
     ignored text[] NOT NULL,
     hidden text[] NOT NULL)`,
  `CREATE TABLE {schema}.saga_undo (
     branch text PRIMARY KEY,
     owner text NOT NULL,
     saga_key text NOT NULL,
     reply_to text NOT NULL,
     birth text NOT NULL,
     saga text NOT NULL,
     saga_id text NOT NULL,
     step text NOT NULL,
     also_writes text[] NOT NULL,
     created_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  `CREATE INDEX saga_undo_owner ON {schema}.saga_undo (owner)`,
  `CREATE TABLE {schema}.saga_undo_image (
     branch text NOT NULL,
     seq bigint GENERATED ALWAYS AS IDENTITY,
     relation regclass NOT NULL,
     old_key text,
     new_key text,
     old_row jsonb,
     new_row jsonb,
     PRIMARY KEY (branch, seq))`,
  `CREATE TABLE {schema}.saga_undo_lock (
     relation regclass NOT NULL,
     key text COLLATE "C" NOT NULL,
     owner text NOT NULL,
     PRIMARY KEY (relation, key))`,
  `CREATE INDEX saga_undo_lock_owner ON {schema}.saga_undo_lock (owner)`,
  SHOWN,
  HELD,
  TEXTS,
  CHANGED,
  CHECK,
  TRUNCATE,
  AS_TYPE,
  KEPT,
  `CREATE TRIGGER saga_undo_kept BEFORE DELETE ON {schema}.saga_barrier FOR EACH ROW EXECUTE FUNCTION {schema}.saga_undo_kept()`,
]
