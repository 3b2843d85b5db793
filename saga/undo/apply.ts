/** Carries a plan out: the changes of a branch backwards, one statement each. */
import { hasCode } from '../../core/errors.ts'
import { quoteIdentifier, type SqlTransaction } from '../../core/sql.ts'
import { type Image, keyOf, placeOf, type Touched } from './plan.ts'
import { columnsNamed, type Relation, readRows, sameKey, valueOf } from './relation.ts'
import type { RowText } from './text.ts'

type Relations = ReadonlyMap<string, Relation>

/** What another order may get round: a foreign key, a unique key, an exclusion. */
const OUT_OF_ORDER: readonly string[] = ['23503', '23505', '23P01']

/**
 * In the order of the plan. Where a constraint is against that (the rows that a cascade deleted were written down after
 * the row that they belong to), each step is tried as soon as it may be.
 */
export async function applySteps(tx: SqlTransaction, relations: Relations, steps: readonly Image[]): Promise<void> {
  if (steps.length === 0) return
  const isDone = await attempt(tx, async () => {
    for (const step of steps) await undoOne(tx, relations.get(step.relation), step)
  })
  for (let left = steps; !isDone && left.length > 0; ) {
    const next = await pass(tx, relations, left)
    // None can be done: the database says why.
    if (next.length === left.length) await undoOne(tx, relations.get(left[0]?.relation ?? ''), left[0] as Image)
    left = next
  }
}

/** Each step that can be done. @returns those that cannot yet, with all later ones of their rows */
async function pass(tx: SqlTransaction, relations: Relations, steps: readonly Image[]): Promise<readonly Image[]> {
  const left: Image[] = []
  const waiting = new Set<string>()
  for (const step of steps) {
    const places = [step.oldKey, step.newKey].flatMap((key) => (key === null ? [] : placeOf(step.relation, key)))
    const isFree = places.every((place) => !waiting.has(place))
    if (isFree && (await attempt(tx, () => undoOne(tx, relations.get(step.relation), step)))) continue
    left.push(step)
    for (const place of places) waiting.add(place)
  }
  return left
}

/** @returns false when a constraint is against it: nothing was done */
async function attempt(tx: SqlTransaction, work: () => Promise<void>): Promise<boolean> {
  await tx.query('SAVEPOINT concordat_undo')
  try {
    await work()
    await tx.query('RELEASE SAVEPOINT concordat_undo')
    return true
  } catch (error) {
    if (!OUT_OF_ORDER.some((code) => hasCode(error, code))) throw error
    await tx.query('ROLLBACK TO SAVEPOINT concordat_undo')
    await tx.query('RELEASE SAVEPOINT concordat_undo')
    return false
  }
}

/** Undoes one change. What a cascade has undone already is undone again to no effect. */
async function undoOne(tx: SqlTransaction, relation: Relation | undefined, { oldRow, newRow }: Image): Promise<void> {
  if (relation === undefined) return
  if (oldRow === null) return remove(tx, relation, newRow as RowText)
  if (newRow === null) return insert(tx, relation, oldRow)
  const names = Object.keys(oldRow).filter((name) => oldRow[name] !== newRow[name])
  await update(tx, relation, newRow, oldRow, names)
}

/** Makes the row what it was before, whatever it is now. */
export async function putBack(
  tx: SqlTransaction,
  relation: Relation | undefined,
  { key, before }: Touched,
): Promise<void> {
  if (relation === undefined) return
  if (before === null) return remove(tx, relation, keyOf(key))
  const { length } = await readRows(tx, relation, [keyOf(key)])
  if (length === 0) return insert(tx, relation, before)
  await update(
    tx,
    relation,
    before,
    before,
    Object.keys(before).filter((name) => !relation.key.includes(name)),
  )
}

async function remove(tx: SqlTransaction, relation: Relation, row: RowText): Promise<void> {
  await tx.query(`DELETE FROM ${relation.target} t WHERE ${sameKey(relation, '$1::jsonb')}`, [JSON.stringify(row)])
}

async function insert(tx: SqlTransaction, relation: Relation, row: RowText): Promise<void> {
  const columns = columnsNamed(relation, Object.keys(row)).filter(({ isGenerated }) => !isGenerated)
  const names = columns.map(({ name }) => quoteIdentifier(name)).join(', ')
  const values = columns.map((column) => valueOf(column, 'r.v')).join(', ')
  await tx.query(
    `INSERT INTO ${relation.name} (${names}) OVERRIDING SYSTEM VALUE SELECT ${values} FROM (SELECT $1::jsonb AS v) r`,
    [JSON.stringify(row)],
  )
}

async function update(
  tx: SqlTransaction,
  relation: Relation,
  from: RowText,
  to: RowText,
  names: readonly string[],
): Promise<void> {
  const columns = columnsNamed(relation, names).filter(
    ({ name, isGenerated }) => !isGenerated && !relation.ignored.includes(name),
  )
  if (columns.length === 0) return
  const values = columns.map((column) => `${quoteIdentifier(column.name)} = ${valueOf(column, '$2::jsonb')}`)
  await tx.query(`UPDATE ${relation.target} t SET ${values.join(', ')} WHERE ${sameKey(relation, '$1::jsonb')}`, [
    JSON.stringify(from),
    JSON.stringify(to),
  ])
}
