/**
 * The trigger function of one protected table. It has the table's keys written into it, so that PostgreSQL keeps their plan:
 * writers that belong to no saga pay for little more than a look whether anything of the table is held. What is done then
 * is in the functions of the migration.
 */
import { quoteIdentifier } from '../../core/sql.ts'
import { type Candidate, type Keys, keyTexts } from './candidate.ts'
import { FIXED, SETTING } from './tables.ts'

/** @param home the quoted schema of the participant */
export function triggerFunction(home: string, oid: string, found: Candidate, keys: Keys): string {
  const name = triggerFunctionName(home, oid)
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp ${dependsOnSettings(found, keys) ? FIXED : ''} AS $undo$
DECLARE
  rel CONSTANT regclass := coalesce(pg_partition_root(TG_RELID), TG_RELID);
  old_keys text[];
  new_keys text[];
  old_row jsonb;
  new_row jsonb;
  branch text;
BEGIN
  IF coalesce(current_setting('${SETTING}', true), '') = '' AND current_setting('transaction_isolation') LIKE 'read %'
    AND NOT EXISTS (SELECT FROM ${home}.saga_undo_lock l WHERE l.relation = rel) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD *= NEW THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    old_keys := ARRAY[${keyTexts('OLD', found, keys).join(', ')}];
  END IF;
  IF TG_OP <> 'DELETE' THEN
    new_keys := ARRAY[${keyTexts('NEW', found, keys).join(', ')}];
  END IF;
  branch := ${home}.saga_undo_changed(rel, old_keys, new_keys);
  IF branch IS NULL THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    SELECT t.old_row, t.new_row INTO old_row, new_row FROM ${home}.saga_undo_texts(TG_RELID, OLD, NEW) t;
  ELSIF TG_OP = 'INSERT' THEN
    SELECT t.new_row INTO new_row FROM ${home}.saga_undo_texts(TG_RELID, NEW, NEW) t;
  ELSE
    SELECT t.old_row INTO old_row FROM ${home}.saga_undo_texts(TG_RELID, OLD, OLD) t;
  END IF;
  INSERT INTO ${home}.saga_undo_image VALUES (branch, DEFAULT, rel, old_keys[1], new_keys[1], old_row, new_row);
  RETURN NULL;
END $undo$`
}

export function triggerFunctionName(home: string, oid: string): string {
  return `${home}.${quoteIdentifier(`saga_undo_row_${oid}`)}`
}

/** Types whose texts the settings of a session change. */
const SETTABLE: ReadonlySet<string> = new Set([
  'date',
  'bytea',
  'timestamp with time zone',
  'timestamp without time zone',
])

function dependsOnSettings({ columns }: Candidate, keys: Keys): boolean {
  const named = new Set(keys.flat())
  return (columns ?? []).some(({ name, base }) => named.has(name) && SETTABLE.has(base))
}
