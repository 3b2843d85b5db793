/** Locks rows that no undecided saga has changed. */
import { ownQuery, quoteIdentifier, type SqlTransaction } from '../../core/sql.ts'
import { UndoError } from './errors.ts'
import { type Relation, Relations, sameKey, UNDO_CALL } from './table-structure.ts'

export async function lockRows<Row extends object>(
  tx: SqlTransaction,
  table: string,
  keys: readonly unknown[],
  schema: string,
): Promise<readonly Row[]> {
  const { rows } = await tx.query<{ oid: string | null }>('SELECT to_regclass($1)::oid::text AS oid', [table])
  const oid = rows[0]?.oid ?? ''
  const relation = oid === '' ? undefined : (await new Relations(schema).read(tx, [oid])).get(oid)
  if (relation === undefined)
    throw new UndoError('saga.undo_table', {
      call: 'lockRows',
      table,
      problem: 'is not protected: call undo.protect(sql, [...]) before',
    })
  const wanted = JSON.stringify(keys.map((key) => keyRow(relation, key)))
  const order = relation.key.map((column) => `t.${quoteIdentifier(column)}`).join(', ')
  const locked = await tx.query<Row>(
    `SELECT t.* FROM jsonb_array_elements($1::jsonb) AS k(v) JOIN ${relation.target} t ON ${sameKey(relation, 'k.v')}
     ORDER BY ${order} FOR UPDATE OF t`,
    [wanted],
  )
  await ownQuery(schema, UNDO_CALL)(tx, `SELECT ${relation.home}.saga_undo_check($1::oid, $2::jsonb)`, [oid, wanted])
  return locked.rows
}

/** @throws `saga.undo_table` when its columns are not those of the key */
function keyRow({ name, key }: Relation, value: unknown): Readonly<Record<string, unknown>> {
  const isObject = typeof value === 'object' && value !== null && !(value instanceof Date)
  const row: Readonly<Record<string, unknown>> = isObject ? { ...value } : { [key[0] ?? '']: value }
  const fits = key.every((column) => row[column] !== undefined) && Object.keys(row).length === key.length
  if (!fits)
    throw new UndoError('saga.undo_table', {
      call: 'lockRows',
      table: name,
      problem: `has the key (${key.join(', ')}): give its values by column, one object per row`,
    })
  return Object.fromEntries(
    Object.entries(row).map(([column, of]) => [column, typeof of === 'bigint' ? String(of) : of]),
  )
}
