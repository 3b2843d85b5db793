/**
 * The unique keys of a table. Rows are held by the texts of their keys, so that no other writer takes a value that may have to be
 * restored. An index of expressions or with a predicate is such a key, too; its texts are computed as PostgreSQL computes its
 * entries.
 */
import { quoteIdentifier, quoteLiteral, type SqlTransaction } from '../../core/sql.ts'
import { keyText, textOf } from './row-text.ts'

/** A unique index or an exclusion constraint. */
export interface Key {
  /** Name of the index. */
  readonly name: string
  readonly isPrimary: boolean
  readonly isImmediate: boolean
  readonly isExclusion: boolean
  readonly hasEqualNulls: boolean
  /** True if functions, operators or operator classes from outside of PostgreSQL are part of it. */
  readonly isForeign: boolean
  /** Condition on its rows, as SQL; `null`: all rows. */
  readonly predicate: string | null
  readonly parts: readonly KeyPart[]
}

interface KeyPart {
  /** Name of the column; `null` for an expression. */
  readonly column: string | null
  /** SQL with names of columns. */
  readonly expression: string
  /** Its type; for a domain the underlying type, and `enum` for every enum. */
  readonly base: string
  /** Its collation treats different texts as equal. */
  readonly isLoose: boolean
}

/** Types whose equal values have equal texts (`numeric` after its zeros are cut). */
const KEY_TYPES: ReadonlySet<string> = new Set(
  (
    'enum smallint integer bigint oid text character character_varying name uuid boolean date bytea numeric inet cidr macaddr ' +
    'macaddr8 timestamp_without_time_zone timestamp_with_time_zone time_without_time_zone "char"'
  )
    .split(' ')
    .map((type) => type.replaceAll('_', ' ')),
)

const KEYS = `SELECT n.relname::text AS name, x.indisprimary AS "isPrimary", x.indimmediate AS "isImmediate", x.indisexclusion AS "isExclusion",
  coalesce((to_jsonb(x)->>'indnullsnotdistinct')::boolean, false) AS "hasEqualNulls",
  EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass)) AS "isForeign",
  pg_get_expr(x.indpred, x.indrelid) AS predicate,
  (SELECT jsonb_agg(jsonb_build_object('column', a.attname, 'expression', pg_get_indexdef(x.indexrelid, k.n::int, false),
     'base', CASE WHEN b.typtype = 'e' THEN 'enum' ELSE b.oid::regtype::text END, 'isLoose', NOT coalesce(o.collisdeterministic, true)) ORDER BY k.n)
   FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(at, n)
     JOIN pg_attribute i ON i.attrelid = x.indexrelid AND i.attnum = k.n
     LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.at
     JOIN pg_type y ON y.oid = coalesce(a.atttypid, i.atttypid) JOIN pg_type b ON b.oid = coalesce(nullif(y.typbasetype, 0), y.oid)
     LEFT JOIN pg_collation o ON o.oid = (x.indcollation::oid[])[k.n - 1]
   WHERE k.n <= x.indnkeyatts) AS parts
  FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid
  WHERE x.indrelid = $1::oid AND (x.indisunique OR x.indisexclusion) AND x.indisvalid ORDER BY x.indexrelid`

/**
 * Reads the keys of a table, with type names that are valid in the triggers, whose search path contains only PostgreSQL's own
 * schema.
 */
export async function readKeys(tx: SqlTransaction, oid: string): Promise<readonly Key[]> {
  const { rows } = await tx.query<{ path: string }>("SELECT current_setting('search_path') AS path")
  const setPath = "SELECT pg_catalog.set_config('search_path', $1, true)"
  await tx.query(setPath, ['pg_catalog, pg_temp'])
  const { rows: keys } = await tx.query<Key>(KEYS, [oid])
  await tx.query(setPath, [rows[0]?.path])
  return keys
}

/** Returns the keys that rows are held by: the primary key, then the others. */
export function heldKeys(keys: readonly Key[]): readonly Key[] {
  const held = keys.filter((key) => key.isPrimary || obstacleOf(key) === undefined)
  return held.toSorted((a, b) => Number(b.isPrimary) - Number(a.isPrimary))
}

/** Describes keys that rows are not held by. */
export function unheldProblem(keys: readonly Key[]): string | undefined {
  const unheld = keys.flatMap((key) => {
    const obstacle = key.isPrimary ? undefined : obstacleOf(key)
    return obstacle === undefined ? [] : [`"${key.name}" (${obstacle})`]
  })
  if (unheld.length === 0) return undefined
  return (
    `has values of ${unheld.join(', ')} that are not held for a saga, so a step that gave one up cannot be undone once another writer has ` +
    'taken it: use an immediate unique index of columns or of functions of PostgreSQL, with types such as text, or leave such values alone in sagas'
  )
}

/** Returns the first column or expression whose equal values may have different texts. */
export function looseIn({ parts }: Key): string | undefined {
  const part = parts.find(({ base, isLoose }) => isLoose || !KEY_TYPES.has(base))
  return part?.column ?? part?.expression
}

function obstacleOf(key: Key): string | undefined {
  if (key.isExclusion) return 'an exclusion constraint'
  if (!key.isImmediate) return 'deferrable'
  const loose = looseIn(key)
  if (loose !== undefined) return `takes values of "${loose}" for equal that are written differently`
  return key.isForeign ? 'uses functions that are not of PostgreSQL' : undefined
}

export function columnsOf({ parts }: Key): readonly string[] {
  return parts.map(({ column, expression }) => column ?? expression)
}

/** True for an index whose key is SQL with names of columns, which may equal names of the trigger's variables. */
export function isComputed({ parts, predicate }: Key): boolean {
  return predicate !== null || parts.some(({ column }) => column === null)
}

/** Returns the texts of the keys of a row, an expression, in this order; NULL for a key that the row does not have. */
export function keyTexts(row: string, keys: readonly Key[]): readonly string[] {
  return keys.map((key) => {
    if (isComputed(key) || key.hasEqualNulls) return computedText(row, key)
    const columns = key.parts.map(({ column, base }) => ({ name: column ?? '', isNumeric: base === 'numeric' }))
    const values = columns.map(({ name }) => `${row}.${quoteIdentifier(name)}`)
    return `CASE num_nulls(${values.join(', ')}) WHEN 0 THEN ${keyText(row, columns)} END`
  })
}

function computedText(row: string, { parts, predicate, hasEqualNulls }: Key): string {
  const fields = parts.map(({ expression, base }) => {
    const value = base === 'numeric' ? `trim_scale(${expression})` : expression
    return `${quoteLiteral(expression)}, ${textOf(value)}`
  })
  // The text contains the predicate, because an index with another one may have the same value in another row.
  const text = `jsonb_build_object('where', ${quoteLiteral(predicate ?? '')}, ${fields.join(', ')})::text`
  const values = parts.map(({ expression }) => expression)
  const known = hasEqualNulls ? text : `CASE num_nulls(${values.join(', ')}) WHEN 0 THEN ${text} END`
  const found = predicate === null ? known : `CASE WHEN ${predicate} THEN ${known} END`
  return `(SELECT ${found} FROM (SELECT ${row}.*) AS concordat_row)`
}

/** Returns a statement that computes the texts of the keys for row `$1`. */
export function keysQuery(keys: readonly Key[]): string {
  return `SELECT ARRAY[${keyTexts('($1)', keys).join(', ')}]`
}
