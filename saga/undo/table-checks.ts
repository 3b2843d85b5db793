/** Catalog data of a table, and obstacles to its protection. */
import { RULED_REMEDY } from './errors.ts'
import type { Setter } from './trigger-set-columns.ts'
import { columnsOf, type Key, looseIn } from './unique-keys.ts'

/** Catalog data of a table to protect. */
export interface Candidate {
  readonly oid: string | null
  readonly name: string
  readonly kind: string
  readonly persistence: string
  readonly isPartition: boolean
  readonly isInherited: boolean
  /** Schema of a participant that already protects it. */
  readonly protectedIn: string | null
  readonly columns: ReadonlyArray<{ readonly name: string; readonly base: string; readonly isVirtual: boolean }> | null
  /** Roles of participants, and the current one, to which its row-level security applies. */
  readonly ruled: readonly string[] | null
  /** Its row triggers before an update, in the order of their names. */
  readonly setters: readonly Setter[] | null
  /** Its columns and their types, in the form of `SHAPE`. */
  readonly shape: string | null
  readonly keys: readonly Key[]
  /** Tables that the database changes together with this one. */
  readonly follow: ReadonlyArray<{ readonly oid: string; readonly name: string; readonly constraint: string }> | null
}

export function problemOf(found: Candidate, schema: string): string | undefined {
  const { kind, persistence, keys, protectedIn } = found
  if (kind !== 'r' && kind !== 'p') return 'is no table: name the tables that hold its rows'
  if (persistence !== 'p')
    return 'is temporary or unlogged, and does not outlive a crash as its images do: make it a logged table'
  if (found.isPartition) return 'is a partition: name the partitioned table'
  if (found.isInherited) return 'has tables that inherit from it: use partitions, or name a table without children'
  if (protectedIn !== null && protectedIn !== schema)
    return `is protected in schema "${protectedIn}" already: give its participants one schema, or call undo.unprotect(sql, [...], { schema: ${JSON.stringify(protectedIn)} })`
  const key = keys.find(({ isPrimary }) => isPrimary)
  if (key === undefined) return 'has no primary key, so its rows cannot be told apart: add one'
  if (!key.isImmediate) return 'has a primary key that is DEFERRABLE: make it immediate'
  const loose = looseIn(key)
  if (found.ruled !== null)
    return (
      `has row-level security that applies to ${found.ruled.join(', ')}, which may then not see or not write the rows to be put ` +
      `back: ${RULED_REMEDY}`
    )
  if (loose !== undefined)
    return `has the key column "${loose}", whose type takes values for equal that are written differently: use integer, text or uuid`
  return undefined
}

/** Returns the columns of its primary key. */
export function primaryColumns({ keys }: Candidate): readonly string[] {
  return columnsOf(keys.find(({ isPrimary }) => isPrimary) as Key)
}

/** Returns the columns and types of row texts, which reveal whether a table was altered. @param oid expression */
export function shapeOf(oid: string): string {
  return `(SELECT pg_catalog.string_agg(a.attname || ' ' || a.atttypid, ',' ORDER BY a.attname) FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = ${oid} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v')`
}

/**
 * Roles that may belong to a participant: those that may write to the table of branches and to the table itself. Whichever role
 * protects it, this one restores the rows.
 */
const RULED_ROLES = `(SELECT nullif(array_agg(r.rolname::text ORDER BY r.rolname), '{}') FROM pg_catalog.pg_roles r
   WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND (r.rolname = current_user OR (r.rolcanlogin AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE')
       AND has_table_privilege(r.oid, $name$\{schema}.saga_undo$name$, 'INSERT')))
     AND {schema}.saga_undo_ruled(c.oid, r.oid))`

const SETTERS = `(SELECT jsonb_agg(jsonb_build_object('trigger', g.tgname, 'name', f.proname, 'source', f.prosrc,
     'args', pg_catalog.encode(g.tgargs, 'escape')) ORDER BY g.tgname)
   FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
   WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 19 = 19)`

/**
 * Reads all checked properties of a table except its keys, in one row; `{schema}` stands for the quoted schema of the
 * participant.
 */
export const CANDIDATE = `SELECT c.oid::text AS oid, CASE WHEN c.oid IS NULL THEN $1 ELSE format('%I.%I', n.nspname, c.relname) END AS name,
  c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relispartition AS "isPartition",
  c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AS "isInherited",
  (SELECT p.nspname::text FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
     JOIN pg_catalog.pg_namespace p ON p.oid = f.pronamespace
   WHERE g.tgrelid = c.oid AND f.proname LIKE 'saga\\_undo\\_row\\_%' LIMIT 1) AS "protectedIn",
  (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'base', CASE WHEN b.typtype = 'e' THEN 'enum' ELSE b.oid::regtype::text END,
     'isVirtual', a.attgenerated = 'v'))
   FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
     JOIN pg_catalog.pg_type b ON b.oid = coalesce(nullif(y.typbasetype, 0), y.oid)
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  ${shapeOf('c.oid')} AS shape, ${RULED_ROLES} AS ruled, ${SETTERS} AS setters,
  (SELECT jsonb_agg(jsonb_build_object('oid', r.oid::text, 'name', format('%I.%I', s.nspname, r.relname), 'constraint', o.conname))
   FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class r ON r.oid = o.conrelid JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
   WHERE o.contype = 'f' AND o.confrelid = c.oid AND NOT r.relispartition
     AND (o.confdeltype IN ('c', 'n', 'd') OR o.confupdtype IN ('c', 'n', 'd'))) AS follow
FROM (SELECT to_regclass($1) AS oid) asked LEFT JOIN pg_catalog.pg_class c ON c.oid = asked.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`
