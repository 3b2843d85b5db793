/**
 * Functions of one protected table. The table's keys are part of the trigger's text, so that PostgreSQL caches the plan: a write
 * outside any saga costs little more than a check whether a row of this table is locked. The rest is in functions of the
 * migration.
 */
import { quoteIdentifier, quoteLiteral } from '../../core/sql.ts'
import { textOf } from './row-text.ts'
import { type Candidate, shapeOf } from './table-checks.ts'
import { BY_KEY, FIXED, SETTING } from './tables.ts'
import { isComputed, type Key, keyTexts } from './unique-keys.ts'

/**
 * @param home the quoted schema of the participant
 * @param id the table's id in `saga_undo_table`, not its oid, which changes in a restored dump
 */
export function triggerFunction(home: string, id: string, keys: readonly Key[]): string {
  const name = triggerFunctionName(home, id)
  const texts = textsFunctionName(home, id)
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp ${BY_KEY} ${dependsOnSettings(keys) ? FIXED : ''} AS $undo$${keys.some(isComputed) ? '\n#variable_conflict use_column' : ''}
DECLARE
  rel CONSTANT regclass := coalesce(pg_partition_root(TG_RELID), TG_RELID);
  old_keys text[];
  new_keys text[];
  old_row jsonb;
  new_row jsonb;
  branch text;
BEGIN
  IF coalesce(current_setting('${SETTING}', true), '') = '' AND (current_setting('session_replication_role') = 'replica'
    OR current_setting('transaction_isolation') LIKE 'read %'
    AND NOT EXISTS (SELECT FROM ${home}.saga_undo_lock l WHERE l.relation = rel)) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD *= NEW THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    old_keys := ARRAY[${keyTexts('OLD', keys).join(', ')}];
  END IF;
  IF TG_OP <> 'DELETE' THEN
    new_keys := ARRAY[${keyTexts('NEW', keys).join(', ')}];
  END IF;
  branch := ${home}.saga_undo_changed(rel, old_keys, new_keys);
  IF branch IS NULL THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    SELECT t.old_row, t.new_row INTO old_row, new_row FROM ${texts}(TG_RELID, OLD, NEW) t;
  ELSIF TG_OP = 'INSERT' THEN
    SELECT t.new_row INTO new_row FROM ${texts}(TG_RELID, NEW, NEW) t;
  ELSE
    SELECT t.old_row INTO old_row FROM ${texts}(TG_RELID, OLD, OLD) t;
  END IF;
  INSERT INTO ${home}.saga_undo_image VALUES (branch, DEFAULT, rel, old_keys[1], new_keys[1], old_row, new_row);
  RETURN NULL;
END $undo$`
}

export function triggerFunctionName(home: string, id: string): string {
  return `${home}.${quoteIdentifier(`saga_undo_row_${id}`)}`
}

/**
 * Returns the texts of a row of this table before and after a change. Its columns are part of the function's text, which saves a
 * plan for each row; after an `ALTER TABLE` the function reads them from the catalog, until the table is protected again.
 */
export function textsFunction(home: string, id: string, { columns, shape }: Candidate): string {
  const plain = (columns ?? []).filter(({ isVirtual }) => !isVirtual)
  const names = plain.map(({ name }) => quoteLiteral(name)).join(', ')
  const texts = (row: string): string => plain.map(({ name }) => textOf(`${row}.${quoteIdentifier(name)}`)).join(', ')
  const textsAs = (row: string): string => `jsonb_object(ARRAY[${names}]::text[], ARRAY[${texts(row)}]::text[])`
  const needsFixedSettings = plain.some(({ base }) => !SETTING_INDEPENDENT.has(base))
  return `CREATE OR REPLACE FUNCTION ${textsFunctionName(home, id)}(rel oid, r_old record, r_new record, OUT old_row jsonb, OUT new_row jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp ${needsFixedSettings ? FIXED : ''} AS $undo$
BEGIN
  IF ${shapeOf('rel')} IS DISTINCT FROM ${quoteLiteral(shape ?? '')} THEN
    SELECT t.old_row, t.new_row INTO old_row, new_row FROM ${home}.saga_undo_texts(rel, r_old, r_new) t;
    RETURN;
  END IF;
  old_row := ${textsAs('r_old')};
  new_row := ${textsAs('r_new')};
END $undo$`
}

export function textsFunctionName(home: string, id: string): string {
  return `${home}.${quoteIdentifier(`saga_undo_texts_${id}`)}`
}

/** Types whose texts do not depend on settings. */
const SETTING_INDEPENDENT: ReadonlySet<string> = new Set([
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'boolean',
  'uuid',
  'text',
  'character varying',
  'character',
  'json',
  'jsonb',
  'enum',
])

/** Types whose texts depend on settings of a session. */
const SETTING_DEPENDENT: ReadonlySet<string> = new Set([
  'date',
  'bytea',
  'timestamp with time zone',
  'timestamp without time zone',
])

function dependsOnSettings(keys: readonly Key[]): boolean {
  return keys.some(({ parts }) => parts.some(({ base }) => SETTING_DEPENDENT.has(base)))
}
