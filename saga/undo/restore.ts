/** Undoes a branch: looks whether its rows are as it left them, puts them back, and looks again. */
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

/** Which branch of which saga. */
export interface Branch {
  readonly branch: string
  readonly owner: string
  /** For people. */
  readonly key: string
}

export interface RestoreParts {
  readonly barrier: Barrier
  readonly images: Images
  readonly relations: Relations
  /** Tables that may be written though they are not protected, beside those that the branch has. */
  readonly alsoWrites: readonly string[]
}

type Looking = Pick<RestoreParts, 'images' | 'relations'>

/** The branch, and its rows as they are now. */
interface Looked {
  readonly plan: Plan
  readonly relations: ReadonlyMap<string, Relation>
  readonly differences: readonly RowDifference[]
  /** Places of rows that are as they were before the branch: nothing is left to undo there. */
  readonly done: ReadonlySet<string>
}

interface RowDifference {
  readonly row: Touched
  /** True for a row that is as it was before the branch. */
  readonly isBefore: boolean
  /** Obstacle for the whole table. */
  readonly obstacle?: Obstacle | undefined
  readonly differences: readonly UndoDifference[]
}

/** Differences from the branch's result. Its rows stay locked. */
export async function look(tx: SqlTransaction, parts: Looking, branch: string): Promise<readonly UndoDifference[]> {
  await fixTexts(tx)
  const { differences } = await lookAt(tx, parts, branch)
  return differences.flatMap((each) => each.differences)
}

/**
 * Puts the rows of a branch back, newest change first, and forgets it. Branches of the same saga that changed these rows, or tables tied to
 * theirs by a foreign key, after it are undone before, and marked as cancelled: branches that ran at the same time are not cancelled in the order of
 * their writes. Needs `Images.alone`.
 * @param choice what becomes of rows that are not as it left them; `undefined`: then nothing is undone
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

/** From here on it is cancelled: a confirmation that comes finds nothing, and a cancellation has nothing left to do. */
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

/** How often rows that triggers changed are put back: what a trigger adds may have triggers of its own. */
const PASSES = 3

/**
 * Puts back what triggers of the tables did about rows that were put back: a total that one of them keeps, a line that it adds
 * to a protected audit table. Each such row is one that the saga holds or that was not there.
 * @returns what is still not as it was before the branch
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

/** The branch as it is once those are undone that changed its rows after it. */
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

/** Undoes the last branch that has to be undone before this one. @returns false: there is none. @see Images.laterBranch */
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
  // A row that was moved is done at both places, or at none.
  const open = withMoves(plan.steps, plan.touched.map(placeOfRow).filter(isOpen))
  const done = new Set([...before].filter((place) => !open.has(place)))
  const differences = all.filter(({ row }) => !done.has(placeOfRow(row)))
  return { plan, relations: known, differences, done }
}

/** The rows that are not as `left` says. */
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
  // Which of its columns were hidden is gone with it.
  const key = shownKey(row.key, () => true)
  return { row, isBefore: false, differences: [{ table, key, expected: 'a protected table', found: 'no such table' }] }
}
