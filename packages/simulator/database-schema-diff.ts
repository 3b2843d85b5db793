/**
 * Structure of a database without its rows: objects that a history creates or drops would exist, or be missing, in the next one.
 */
import type { SqlClient } from 'concordat/core'

/** Description of each object, by its kind and name (`table public.account`). */
export type Shape = ReadonlyMap<string, string>

/** @param schemas a condition on `n.nspname` */
export async function shapeOf(sql: SqlClient, schemas: string): Promise<Shape> {
  const { rows } = await sql.query<{ name: string; shape: string | null }>(
    [RELATIONS, FUNCTIONS, CONSTRAINTS, TRIGGERS, TYPES, SCHEMAS]
      .map((text) => `${text} AND ${schemas}`)
      .join(' UNION ALL '),
  )
  return new Map(rows.map(({ name, shape }) => [name, shape ?? '']))
}

const RELATIONS = `SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence'
    WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'relation' END || ' ' || n.nspname || '.' || c.relname AS name,
  (SELECT string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity, md5(d.adbin::text)), ', '
      ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS shape
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true`
const FUNCTIONS = `SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', md5(p.prosrc)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE true`
const CONSTRAINTS = `SELECT 'constraint ' || k.conname || ' of ' || n.nspname || '.' || c.relname,
    concat_ws(' ', k.contype, k.conkey, k.confrelid, k.confkey, md5(k.conbin::text))
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true`
const TRIGGERS = `SELECT 'trigger ' || t.tgname || ' of ' || n.nspname || '.' || c.relname, concat_ws(' ', t.tgfoid, t.tgtype, t.tgenabled)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal`
const TYPES = `SELECT 'type ' || n.nspname || '.' || t.typname,
    (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('d', 'e', 'r')`
const SCHEMAS = `SELECT 'schema ' || n.nspname, NULL FROM pg_namespace n WHERE true`

/** The first object that has changed, and how. `undefined` if none has. */
export function changeBetween(before: Shape, now: Shape): string | undefined {
  for (const [name, shape] of now) {
    const was = before.get(name)
    if (was === undefined) return `${name} was made`
    if (was !== shape) return `${name} was changed`
  }
  for (const name of before.keys()) if (!now.has(name)) return `${name} was dropped`
  return undefined
}
