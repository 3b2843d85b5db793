/** Executes a plan: undoes the changes of a branch in reverse, one statement each where the constraints allow it. */
import { hasCode } from '../../core/errors.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import { applyChanges, type Change, folded } from './apply-row-changes.ts'
import { type Image, keyOf, placesOf, type Touched } from './plan.ts'
import { type Relation, readRows } from './table-structure.ts'

type Relations = ReadonlyMap<string, Relation>

/** Errors that another order may avoid: a foreign key, a unique key, an exclusion. */
const OUT_OF_ORDER: readonly string[] = ['23503', '23505', '23P01']

/**
 * Applies the steps in the order of the plan. If a constraint prevents this (rows that a cascade deleted were recorded after the
 * row that they belong to), each step is tried as soon as possible. Changes of one statement to rows that refer to each other, or
 * to themselves, can be undone in one statement only.
 */
export async function applySteps(tx: SqlTransaction, relations: Relations, steps: readonly Image[]): Promise<void> {
  if (steps.length === 0) return
  const refused = await attempt(tx, async () => {
    for (const step of steps) await applyChanges(tx, relations, [backwards(step)])
  })
  for (let left = steps; refused !== undefined && left.length > 0; ) {
    const next = await pass(tx, relations, left)
    if (next.length === left.length) return applyChanges(tx, relations, folded(left))
    left = next
  }
}

/** Applies each possible step. @returns the impossible ones, with all later ones of their rows */
async function pass(tx: SqlTransaction, relations: Relations, steps: readonly Image[]): Promise<readonly Image[]> {
  const left: Image[] = []
  const waiting = new Set<string>()
  for (const step of steps) {
    const places = placesOf(step)
    const isFree = places.every((place) => !waiting.has(place))
    if (isFree && (await attempt(tx, () => applyChanges(tx, relations, [backwards(step)]))) === undefined) continue
    left.push(step)
    for (const place of places) waiting.add(place)
  }
  return left
}

/** @returns the error of a constraint that prevents it, after which nothing was done */
export async function attempt(tx: SqlTransaction, work: () => Promise<void>): Promise<Error | undefined> {
  await tx.query('SAVEPOINT concordat_undo')
  try {
    await work()
    await tx.query('RELEASE SAVEPOINT concordat_undo')
    return undefined
  } catch (error) {
    if (!OUT_OF_ORDER.some((code) => hasCode(error, code))) throw error
    await tx.query('ROLLBACK TO SAVEPOINT concordat_undo')
    await tx.query('RELEASE SAVEPOINT concordat_undo')
    return error as Error
  }
}

/** Reverses a change. Repeating what a cascade has undone has no effect. */
function backwards({ relation, oldRow, newRow }: Image): Change {
  return { relation, from: newRow, to: oldRow }
}

/**
 * Restores rows to their previous state, whatever their current state is. A row to delete may have a unique value of one to
 * restore.
 */
export async function putAllBack(tx: SqlTransaction, relations: Relations, rows: readonly Touched[]): Promise<void> {
  const ordered = rows.toSorted((a, b) => Number(a.before !== null) - Number(b.before !== null))
  const refused = await attempt(tx, async () => {
    for (const row of ordered) await applyChanges(tx, relations, [await changeBack(tx, relations, row)])
  })
  if (refused === undefined) return
  const changes: Change[] = []
  for (const row of ordered) changes.push(await changeBack(tx, relations, row))
  await applyChanges(tx, relations, changes)
}

async function changeBack(
  tx: SqlTransaction,
  relations: Relations,
  { relation, key, before }: Touched,
): Promise<Change> {
  const known = relations.get(relation)
  const [found] = known === undefined ? [] : await readRows(tx, known, [keyOf(key)])
  return { relation, from: found?.row ?? null, to: before }
}
