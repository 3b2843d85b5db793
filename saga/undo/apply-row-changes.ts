/** Changes rows to a target state, with SQL. */
import { quoteIdentifier, type SqlTransaction } from '../../core/sql.ts'
import { type Image, placeOf, stateOf } from './plan.ts'
import type { RowText } from './row-text.ts'
import { type Column, columnsNamed, type Relation, sameKey, valueOf } from './table-structure.ts'

/** Current and target state of a row; `null`: absent. */
export interface Change {
  /** The oid of its table. */
  readonly relation: string
  readonly from: RowText | null
  readonly to: RowText | null
}

/**
 * Makes all changes in one statement and in this order, so that the database checks foreign keys after all of them. A row must
 * occur once. Changes of a table that no longer exists are omitted.
 */
export async function applyChanges(
  tx: SqlTransaction,
  relations: ReadonlyMap<string, Relation>,
  changes: readonly Change[],
): Promise<void> {
  const rows: unknown[] = []
  const statements: string[] = []
  for (const change of changes) {
    const relation = relations.get(change.relation)
    const statement = relation && statementOf(relation, change, `$1::jsonb->${rows.length}`)
    if (statement === undefined) continue
    statements.push(statement)
    rows.push([change.from, change.to])
  }
  const [first] = statements
  if (first === undefined) return
  await tx.query(statements.length === 1 ? first : together(statements), [JSON.stringify(rows)])
}

function together(statements: readonly string[]): string {
  const parts = statements.map((statement, n) => `c${n} AS (${statement} RETURNING 1)`)
  // A part runs when it is first counted, so in this order; a part that is not counted runs after all others.
  const counts = statements.map((_, n) => `(SELECT count(*) FROM c${n})`)
  return `WITH ${parts.join(', ')} SELECT ARRAY[${counts.join(', ')}]`
}

/**
 * Merges the steps of an undo into one change per row. Rows to delete come first and rows to insert last, so that a unique key is
 * free before another row takes it.
 */
export function folded(steps: readonly Image[]): readonly Change[] {
  const changes: Array<{ -readonly [K in keyof Change]: Change[K] }> = []
  /** By the place and the state that a row has reached. */
  const open = new Map<string, (typeof changes)[number]>()
  const at = (relation: string, key: string | null, row: RowText | null): string =>
    `${placeOf(relation, key ?? '')} ${stateOf(row)}`
  for (const { relation, oldKey, newKey, oldRow, newRow } of steps) {
    const now = at(relation, newKey ?? oldKey, newRow)
    const known = open.get(now)
    const change = known ?? { relation, from: newRow, to: oldRow }
    if (known === undefined) changes.push(change)
    change.to = oldRow
    open.delete(now)
    open.set(at(relation, oldKey ?? newKey, oldRow), change)
  }
  return changes.toSorted((a, b) => turnOf(a) - turnOf(b))
}

function turnOf({ from, to }: Change): number {
  if (to === null) return 0
  return from === null ? 2 : 1
}

/** @param pair expression: current and target state of the row. @returns `undefined` when there is nothing to do */
function statementOf(relation: Relation, { from, to }: Change, pair: string): string | undefined {
  const [is, be] = [`(${pair}->0)`, `(${pair}->1)`]
  if (to === null) return from === null ? undefined : `DELETE FROM ${relation.target} t WHERE ${sameKey(relation, is)}`
  const columns = columnsNamed(relation, Object.keys(to)).filter(({ isGenerated }) => !isGenerated)
  if (from === null) return insertOf(relation, columns, be)
  const values = columns
    .filter(({ name }) => from[name] !== to[name] && !relation.ignored.includes(name))
    .map((column) => `${quoteIdentifier(column.name)} = ${valueOf(column, be)}`)
  if (values.length === 0) return undefined
  return `UPDATE ${relation.target} t SET ${values.join(', ')} WHERE ${sameKey(relation, is)}`
}

function insertOf(relation: Relation, columns: readonly Column[], row: string): string {
  const names = columns.map(({ name }) => quoteIdentifier(name)).join(', ')
  const values = columns.map((column) => valueOf(column, row)).join(', ')
  return `INSERT INTO ${relation.name} (${names}) OVERRIDING SYSTEM VALUE SELECT ${values}`
}
