/** Current structure of a protected table: its columns, its keys, and how its rows are read and identified. */
import { type OwnQuery, ownQuery, quoteIdentifier, type SqlExecutor } from '../../core/sql.ts'
import { RULED_REMEDY } from './errors.ts'
import { type KeyColumn, keyText, type RowText, textOf } from './row-text.ts'

/** Call that creates the tables of undo. */
export const UNDO_CALL = 'migrateParticipant(sql, schema)'

export interface Column extends KeyColumn {
  /** Type for a cast, without a length that would truncate. */
  readonly type: string
  /** Type with its length and precision, as the column stores values. */
  readonly exact: string
  /** Computed by the database, so it cannot be written. */
  readonly isGenerated: boolean
}

export interface Relation {
  /** Name for SQL and for display: `public.accounts`. */
  readonly name: string
  /** Name for `FROM` and `UPDATE`: `ONLY public.accounts`, or the name of a partitioned table. */
  readonly target: string
  readonly columns: readonly Column[]
  /** The columns of the primary key. */
  readonly key: readonly string[]
  /** Columns that are neither compared nor restored. */
  readonly ignored: readonly string[]
  /** Columns whose values appear in no message. */
  readonly hidden: readonly string[]
  /** Schema with the functions of undo, quoted. */
  readonly home: string
  /** Obstacle to restoring all of its rows. */
  readonly obstacle?: Obstacle | undefined
}

/** A table that has replaced the one whose rows were written, whose rows are not all visible, or whose key has another name. */
export interface Obstacle {
  readonly expected: string
  readonly found: string
  readonly remedy: string
}

/** Current state of a row, and its key in the form that its locks use. */
export interface Found {
  readonly key: string
  readonly row: RowText
}

interface TableRow extends Omit<Relation, 'columns' | 'target' | 'home' | 'obstacle'> {
  readonly columns: ReadonlyArray<Omit<Column, 'isNumeric'> & { readonly base: string }> | null
  readonly isPartitioned: boolean
  /** Name under which it was protected; `null`: by a release that did not store it. */
  readonly protectedAs: string | null
  /** Current role, if row-level security applies to it. */
  readonly ruled: string | null
}

/** Relations by their oids, as texts. Omits tables that were dropped, or are no longer protected. */
export class Relations {
  readonly #query: OwnQuery
  readonly #home: string

  constructor(schema: string) {
    this.#home = quoteIdentifier(schema)
    this.#query = ownQuery(schema, UNDO_CALL)
  }

  async read(tx: SqlExecutor, oids: readonly string[]): Promise<ReadonlyMap<string, Relation>> {
    const { rows } = await this.#query<TableRow & { oid: string }>(
      tx,
      `SELECT c.oid::text AS oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'p' AS "isPartitioned",
         t.keys->0 AS key, t.ignored, t.hidden, ${COLUMNS} AS columns, t.name AS "protectedAs",
         (SELECT m.rolname::text FROM pg_catalog.pg_roles m
          WHERE m.rolname = current_user AND c.relrowsecurity AND ${this.#home}.saga_undo_ruled(c.oid, m.oid)) AS ruled
       FROM ${this.#home}.saga_undo_table t JOIN pg_catalog.pg_class c ON c.oid = t.relation
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE t.relation = ANY($1::oid[])`,
      [[...oids]],
    )
    return new Map(rows.map(({ oid, ...row }) => [oid, relationOf(row, this.#home)]))
  }
}

/** Columns of `c`, in their order. Omits columns that are computed on read. */
export const COLUMNS = `(SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'isGenerated', a.attgenerated <> '',
    'type', format_type(a.atttypid, -1), 'exact', format_type(a.atttypid, a.atttypmod), 'base', coalesce(nullif(y.typbasetype, 0), y.oid)::regtype::text) ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v')`

function relationOf({ isPartitioned, protectedAs, ruled, ...row }: TableRow, home: string): Relation {
  const columns = (row.columns ?? []).map(({ base, ...column }) => ({ ...column, isNumeric: base === 'numeric' }))
  return {
    ...row,
    home,
    obstacle: obstacleOf({ ...row, columns }, protectedAs, ruled),
    target: isPartitioned ? row.name : `ONLY ${row.name}`,
    columns,
  }
}

function obstacleOf(
  { name, key, columns }: Pick<Relation, 'name' | 'key' | 'columns'>,
  protectedAs: string | null,
  ruled: string | null,
): Obstacle | undefined {
  if (protectedAs !== null && protectedAs !== name)
    return { expected: `table ${protectedAs}`, found: `it is ${name} now`, remedy: movedRemedy(protectedAs, name) }
  const lost = key.find((column) => columnsNamed({ columns }, [column]).length === 0)
  if (lost !== undefined)
    return { expected: `column "${lost}" of the primary key`, found: 'no such column', remedy: keyRemedy(name, lost) }
  if (ruled === null) return undefined
  const found = 'row-level security applies'
  return { expected: `role ${ruled} to see all rows`, found, remedy: RULED_REMEDY }
}

/** Remedy for a table that was renamed after it was protected. */
export function movedRemedy(was: string, name: string): string {
  return (
    `if ${name} is still the table that sagas write to, call undo.protect(sql, [${JSON.stringify(name)}]); if another table took ` +
    `the place of ${was}, put its rows right by hand, settle what waits with undo.settle() and "keep", and call ` +
    `undo.unprotect(sql, [${JSON.stringify(name)}])`
  )
}

function keyRemedy(name: string, lost: string): string {
  return (
    `give the column of ${name} its name "${lost}" back until nothing waits for an undo, then rename it and call ` +
    'undo.protect() again; or put the rows right by hand, and settle with undo.settle() and "keep"'
  )
}

export function columnsNamed({ columns }: Pick<Relation, 'columns'>, names: readonly string[]): readonly Column[] {
  return names.flatMap((name) => columns.find((column) => column.name === name) ?? [])
}

/** Returns a condition on row `t`: its key equals that of `json`, an expression of texts by the names of columns. */
export function sameKey(relation: Relation, json: string): string {
  const columns = columnsNamed(relation, relation.key)
  return columns.map((column) => `t.${quoteIdentifier(column.name)} = ${valueOf(column, json)}`).join(' AND ')
}

/** Returns the value of a column from its text. */
export function valueOf({ name, type }: Column, json: string): string {
  return `(${json}->>'${name.replaceAll("'", "''")}')::${type}`
}

/** Returns the existing rows with these keys, locked in the order of their keys. */
export async function readRows(
  tx: SqlExecutor,
  relation: Relation,
  keys: readonly RowText[],
): Promise<readonly Found[]> {
  if (keys.length === 0) return []
  const names = relation.columns.map(({ name }) => name)
  const texts = names.map((name) => textOf(`t.${quoteIdentifier(name)}`))
  const key = keyText('t', columnsNamed(relation, relation.key))
  const { rows } = await tx.query<Found>(
    `SELECT ${key} AS key, jsonb_object($2::text[], ARRAY[${texts.join(', ')}]::text[]) AS row
     FROM jsonb_array_elements($1::jsonb) AS k(v) JOIN ${relation.target} t ON ${sameKey(relation, 'k.v')}
     ORDER BY 1 FOR UPDATE OF t`,
    [JSON.stringify(keys), names],
  )
  return rows
}
