/** Undoes a branch: checks that its rows are unchanged, restores them, and checks again. */
import type { SqlTransaction } from '../../core/sql.ts'
import type { Barrier } from '../participant/barrier.ts'
import { applySteps, attempt, putAllBack } from './apply.ts'
import type { BranchRow, Images } from './branch-image-store.ts'
import { differencesOf, shownKey } from './differences.ts'
import { type Strayed, type UndoDifference, UndoError } from './errors.ts'
import { type Image, keyOf, type Plan, placeOf, placesOf, planUndo, type Touched, withMoves } from './plan.ts'
import { fixTexts } from './row-text.ts'
import { type Obstacle, type Relation, type Relations, readRows } from './table-structure.ts'
import type { UndoChoice } from './undo-types.ts'

/** A branch of a saga. */
export interface Branch {
  readonly branch: string
  readonly owner: string
  /** Key for display. */
  readonly key: string
}

export interface RestoreParts {
  readonly barrier: Barrier
  readonly images: Images
  readonly relations: Relations
  /** Unprotected tables that may be written, in addition to those of the branch. */
  readonly alsoWrites: readonly string[]
}

type Looking = Pick<RestoreParts, 'images' | 'relations'>

/** The branch, and its rows in their current state. */
interface Looked {
  readonly plan: Plan
  readonly relations: ReadonlyMap<string, Relation>
  readonly differences: readonly RowDifference[]
  /** Rows that already have their state from before the branch. */
  readonly done: ReadonlySet<string>
}

interface RowDifference {
  readonly row: Touched
  /** True for a row in its state from before the branch. */
  readonly isBefore: boolean
  /** Obstacle for the whole table. */
  readonly obstacle?: Obstacle | undefined
  readonly differences: readonly UndoDifference[]
}

/** Returns differences from the branch's result. Its rows stay locked. */
export async function look(tx: SqlTransaction, parts: Looking, branch: string): Promise<readonly UndoDifference[]> {
  await fixTexts(tx)
  const { differences } = await lookAt(tx, parts, branch)
  return differences.flatMap((each) => each.differences)
}

/**
 * Restores the rows of a branch, newest change first, and deletes its images. Later branches of the same saga that changed these
 * rows, or tables tied to them by a foreign key, are undone before and marked as cancelled, because concurrent branches are not
 * cancelled in the order of their writes. Needs `Images.alone`.
 * @param choice treatment of rows that have changed since; `undefined`: nothing is undone
 * @throws `saga.undo_conflict`
 */
export async function restore(
  tx: SqlTransaction,
  parts: RestoreParts,
  branch: Branch,
  choice?: UndoChoice,
): Promise<void> {
  await fixTexts(tx)
  const { images, alsoWrites } = parts
  const undoing = await images.undoing(tx, branch.owner)
  await restoreBranch(tx, parts, branch, choice)
  const strayed = await images.end(tx, undoing.written, [...alsoWrites, ...undoing.alsoWrites])
  if (strayed.length > 0)
    throw new UndoError('saga.undo_conflict', {
      key: `${branch.key} (${STRAYED_REMEDY})`,
      differences: strayed.map(strayedInto),
    })
}

/** Marks the branch as cancelled: a later confirmation fails, and a later cancellation has nothing to do. */
export async function markCancelled(
  tx: SqlTransaction,
  { barrier }: Pick<RestoreParts, 'barrier'>,
  { key, replyTo, birth }: BranchRow,
): Promise<void> {
  const invoked = await barrier.find(tx, { key, replyTo, birth, round: 0 }, 'invoke')
  if (invoked !== undefined) await barrier.mark(tx, invoked, 'cancelled')
}

async function restoreBranch(
  tx: SqlTransaction,
  parts: RestoreParts,
  branch: Branch,
  choice: UndoChoice | undefined,
): Promise<void> {
  let refused: Error | undefined
  do {
    const looked = await lookAfterLater(tx, parts, branch.branch, choice)
    refused = await attempt(tx, () => putBack(tx, parts, branch, looked, choice))
  } while (refused !== undefined && (await undoLater(tx, parts, branch.branch, choice, true)))
  if (refused !== undefined) throw refused
}

async function putBack(
  tx: SqlTransaction,
  parts: RestoreParts,
  { branch, owner, key }: Branch,
  { plan, relations, differences, done }: Looked,
  choice: UndoChoice | undefined,
): Promise<void> {
  const { images } = parts
  const obstacle = differences.find((each) => each.obstacle !== undefined)?.obstacle
  if (differences.length > 0 && (choice === undefined || (choice === 'restore' && obstacle !== undefined)))
    throw new UndoError('saga.undo_conflict', {
      key: obstacle === undefined ? key : `${key} (${obstacle.remedy})`,
      differences: differences.flatMap((each) => each.differences),
    })
  const set = withMoves(
    plan.steps,
    differences.map(({ row }) => placeOf(row.relation, row.key)),
  )
  const isKept = (row: Touched): boolean => set.has(placeOf(row.relation, row.key))
  const isSet = (image: Image): boolean => placesOf(image).some((place) => set.has(place) || done.has(place))
  await tx.query('SET CONSTRAINTS ALL DEFERRED')
  await applySteps(
    tx,
    relations,
    plan.steps.filter((image) => !isSet(image)),
  )
  if (choice === 'restore') {
    await putAllBack(tx, relations, plan.touched.filter(isKept))
  }
  await tx.query('SET CONSTRAINTS ALL IMMEDIATE')
  const restored = plan.touched.filter((row) => !isKept(row))
  const wrong = await afterTriggers(tx, parts, owner, relations, restored)
  if (wrong.length > 0)
    throw new UndoError('saga.undo_conflict', {
      key: `${key} (a trigger of the table changed what was put back: name its columns in \`ignored\` of undo.protect())`,
      differences: wrong.flatMap((each) => each.differences),
    })
  await images.release(tx, branch)
}

/** Number of times that rows changed by triggers are restored, because a trigger's change may fire further triggers. */
const PASSES = 3

/**
 * Reverts changes by triggers on restored rows, such as a total that a trigger maintains, or a line that it adds to a protected
 * audit table. Each such row is held by the saga, or did not exist.
 * @returns rows that still differ from their state before the branch
 */
async function afterTriggers(
  tx: SqlTransaction,
  { images, relations: all }: RestoreParts,
  owner: string,
  known: ReadonlyMap<string, Relation>,
  done: readonly Touched[],
): Promise<readonly RowDifference[]> {
  const relations = new Map(known)
  const wanted = done.map(({ before, ...row }): Touched => ({ ...row, left: before, before }))
  for (let pass = 1; ; pass++) {
    const added = await images.takeAdded(tx, owner)
    const unknown = added.map(({ relation }) => relation).filter((oid) => !relations.has(oid))
    if (unknown.length > 0)
      for (const [oid, relation] of await all.read(tx, [...new Set(unknown)])) relations.set(oid, relation)
    const gone = added.map((row): Touched => ({ ...row, left: null, before: null }))
    wanted.push(...gone)
    const wrong = await compare(tx, relations, wanted)
    if (wrong.length === 0 || pass > PASSES) return wrong
    await tx.query('SET CONSTRAINTS ALL DEFERRED')
    const rows = wrong.map(({ row }) => row)
    await putAllBack(tx, relations, rows)
    await tx.query('SET CONSTRAINTS ALL IMMEDIATE')
  }
}

/** Returns the state of the branch after later branches that changed its rows are undone. */
async function lookAfterLater(
  tx: SqlTransaction,
  parts: RestoreParts,
  branch: string,
  choice: UndoChoice | undefined,
): Promise<Looked> {
  for (;;) {
    const looked = await lookAt(tx, parts, branch)
    if (looked.plan.touched.length === 0 || !(await undoLater(tx, parts, branch, choice, false))) return looked
  }
}

/** Undoes the last branch that has to be undone before this one. @returns false if there is none. @see Images.laterBranch */
async function undoLater(
  tx: SqlTransaction,
  parts: RestoreParts,
  branch: string,
  choice: UndoChoice | undefined,
  isBlocked: boolean,
): Promise<boolean> {
  const later = await parts.images.laterBranch(tx, branch, isBlocked)
  if (later === undefined) return false
  await markCancelled(tx, parts, later)
  await restoreBranch(tx, parts, later, choice)
  return true
}

async function lookAt(tx: SqlTransaction, { images, relations }: Looking, branch: string): Promise<Looked> {
  const plan = planUndo(await images.read(tx, branch))
  const oids = [...new Set(plan.steps.map(({ relation }) => relation))]
  const known = oids.length === 0 ? new Map<string, Relation>() : await relations.read(tx, oids)
  const all = await compare(tx, known, plan.touched)
  const placeOfRow = ({ relation, key }: Touched): string => placeOf(relation, key)
  const before = new Set(all.flatMap(({ row, isBefore }) => (isBefore ? [placeOfRow(row)] : [])))
  const isOpen = (place: string): boolean => !before.has(place)
  // A row that was moved is restored at both places, or at none.
  const open = withMoves(plan.steps, plan.touched.map(placeOfRow).filter(isOpen))
  const done = new Set([...before].filter((place) => !open.has(place)))
  const differences = all.filter(({ row }) => !done.has(placeOfRow(row)))
  return { plan, relations: known, differences, done }
}

/** Returns the rows that differ from `left`. */
async function compare(
  tx: SqlTransaction,
  relations: ReadonlyMap<string, Relation>,
  touched: readonly Touched[],
): Promise<readonly RowDifference[]> {
  const all: RowDifference[] = touched.filter(({ relation }) => !relations.has(relation)).map(noTable)
  for (const [oid, relation] of relations) {
    const rows = touched.filter((row) => row.relation === oid)
    if (relation.obstacle !== undefined) {
      all.push(...rows.map((row) => obstructed(row, relation, relation.obstacle as Obstacle)))
      continue
    }
    const found = await readRows(
      tx,
      relation,
      rows.map(({ key }) => keyOf(key)),
    )
    const now = new Map(found.map(({ key, row }) => [key, row]))
    for (const row of rows) {
      const is = now.get(row.key) ?? null
      const differences = await differencesOf(tx, relation, row, is)
      if (differences.length === 0) continue
      const fromBefore = await differencesOf(tx, relation, { ...row, left: row.before }, is)
      all.push({ row, differences, isBefore: fromBefore.length === 0 })
    }
  }
  return all
}

const STRAYED_REMEDY =
  'to undo it would change a table that undo does not protect, by a foreign key or a trigger: take away the rows that hang on ' +
  'what is undone, make the foreign key NO ACTION, or name a table that may be written in `alsoWrites`'

function strayedInto({ table }: Strayed): UndoDifference {
  return { table, key: {}, expected: 'no change', found: 'rows that undoing would change' }
}

function obstructed(row: Touched, { name, hidden }: Relation, obstacle: Obstacle): RowDifference {
  const { expected, found } = obstacle
  const key = shownKey(row.key, (column) => hidden.includes(column))
  return { row, obstacle, isBefore: false, differences: [{ table: name, key, expected, found }] }
}

function noTable(row: Touched): RowDifference {
  const table = `table ${row.relation}`
  // The list of its hidden columns was deleted with it.
  const key = shownKey(row.key, () => true)
  return { row, isBefore: false, differences: [{ table, key, expected: 'a protected table', found: 'no such table' }] }
}
