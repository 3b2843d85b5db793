/** Differences between a row and its expected state, exact because values are compared as texts. */
import type { SqlExecutor } from '../../core/sql.ts'
import type { UndoDifference } from './errors.ts'
import { keyOf, type Touched } from './plan.ts'
import type { RowText } from './row-text.ts'
import type { Relation } from './table-structure.ts'
import { HIDDEN } from './tables.ts'

const NO_ROW = 'no row'
const A_ROW = 'a row'
const NO_COLUMN = 'no such column'

/** @param found current row; `null`: absent */
export async function differencesOf(
  tx: SqlExecutor,
  relation: Relation,
  { key, left, before }: Touched,
  found: RowText | null,
): Promise<readonly UndoDifference[]> {
  const of = { table: relation.name, key: shownKey(key, (name) => relation.hidden.includes(name)) }
  if (left === null && found !== null) return [{ ...of, expected: NO_ROW, found: A_ROW }]
  if (left !== null && found === null) return [{ ...of, expected: A_ROW, found: NO_ROW }]
  const differences: UndoDifference[] = []
  const shown = (column: string, text: string | null): string =>
    relation.hidden.includes(column) ? HIDDEN : (text ?? 'null')
  for (const column of gone(relation, left, before)) {
    const expected = shown(column, left?.[column] ?? before?.[column] ?? null)
    differences.push({ ...of, column, expected, found: NO_COLUMN })
  }
  if (left === null || found === null) return differences
  for (const { name, exact } of relation.columns) {
    const [expected, is] = [left[name], found[name] ?? null]
    if (expected === undefined || expected === is || relation.ignored.includes(name)) continue
    if (expected !== null && is !== null && (await asType(tx, relation, expected, exact)) === is) continue
    differences.push({ ...of, column: name, expected: shown(name, expected), found: shown(name, is) })
  }
  return differences
}

/** Returns columns that no longer exist, and whose value would have to be restored. */
function gone({ columns, ignored }: Relation, left: RowText | null, before: RowText | null): readonly string[] {
  if (before === null) return []
  const names = new Set(columns.map(({ name }) => name))
  return Object.keys(before).filter((name) => {
    if (names.has(name) || ignored.includes(name)) return false
    return left === null ? before[name] !== null : before[name] !== left[name]
  })
}

/** Returns a stored text as the column's current type writes it; `null` if the type refuses it. */
async function asType(tx: SqlExecutor, { home }: Relation, text: string, type: string): Promise<string | null> {
  const { rows } = await tx.query<{ text: string | null }>(`SELECT ${home}.saga_undo_as($1, $2) AS text`, [text, type])
  return rows[0]?.text ?? null
}

/** Formats a key for display. */
export function shownKey(key: string, isHidden: (column: string) => boolean): RowText {
  const all = Object.entries(keyOf(key))
  return Object.fromEntries(all.map(([name, value]) => [name, isHidden(name) ? HIDDEN : value]))
}
