/**
 * Computes from the images of one branch how to undo it. Pure.
 *
 * The net effect of the transaction is computed from the images regardless of their order: a state that a row was changed from
 * more often than to has to be restored, and a state that it was changed to more often than from is its current one. This holds
 * in whatever order triggers wrote the images. Undoing runs in reverse, change by change, so that foreign keys hold after each;
 * if a trigger of the table recorded its change before the change that caused it, the image that fits the current row comes
 * first.
 */
import type { RowText } from './row-text.ts'

/** A change of a row. */
export interface Image {
  /** The oid of the table. */
  readonly relation: string
  /** Key before; `null`: the row was inserted. */
  readonly oldKey: string | null
  /** Key after; `null`: the row was deleted. */
  readonly newKey: string | null
  readonly oldRow: RowText | null
  readonly newRow: RowText | null
}

/** Net change of a row. */
export interface Touched {
  readonly relation: string
  readonly key: string
  /** State of the row after the transaction; `null`: absent. */
  readonly left: RowText | null
  /** State before; `null`: absent. */
  readonly before: RowText | null
}

export interface Plan {
  /** Changed rows, ordered by key, without those that ended in their original state. */
  readonly touched: readonly Touched[]
  /** Changes to undo one after the other. Rows that ended in their original state are omitted, so later writes to them stay. */
  readonly steps: readonly Image[]
}

/** @param images oldest first */
export function planUndo(images: readonly Image[]): Plan {
  const touched = touchedBy(images)
  const state = new Map(touched.map((row) => [placeOf(row.relation, row.key), stateOf(row.left)]))
  const changed = withMoves(images, state.keys())
  const steps: Image[] = []
  const left = images.filter((image) => placesOf(image).some((place) => changed.has(place))).toReversed()
  while (left.length > 0) {
    const at = left.findIndex((image) => fits(image, state))
    const image = left.splice(Math.max(0, at), 1)[0] as Image
    steps.push(image)
    if (image.newKey !== null) state.set(placeOf(image.relation, image.newKey), ABSENT)
    if (image.oldKey !== null) state.set(placeOf(image.relation, image.oldKey), stateOf(image.oldRow))
  }
  return { touched, steps }
}

/** Returns the columns of the key in the form that the locks use. */
export function keyOf(key: string): RowText {
  return JSON.parse(key) as RowText
}

const ABSENT = ''

function touchedBy(images: readonly Image[]): readonly Touched[] {
  const counts = new Map<
    string,
    { readonly relation: string; readonly key: string; readonly row: RowText; n: number }
  >()
  const count = (relation: string, key: string | null, row: RowText | null, by: number): void => {
    if (key === null || row === null) return
    const of = `${placeOf(relation, key)} ${stateOf(row)}`
    const known = counts.get(of) ?? { relation, key, row, n: 0 }
    known.n += by
    counts.set(of, known)
  }
  for (const { relation, oldKey, newKey, oldRow, newRow } of images) {
    count(relation, oldKey, oldRow, -1)
    count(relation, newKey, newRow, 1)
  }
  const rows = new Map<string, Touched>()
  for (const { relation, key, row, n } of counts.values()) {
    if (n === 0) continue
    const place = placeOf(relation, key)
    const known = rows.get(place) ?? { relation, key, left: null, before: null }
    rows.set(place, n > 0 ? { ...known, left: row } : { ...known, before: row })
  }
  return [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
}

/** Adds the places that rows were moved from and to. */
export function withMoves(images: readonly Image[], places: Iterable<string>): ReadonlySet<string> {
  const all = new Set(places)
  const moves = images.map(placesOf).filter(({ length }) => length > 1)
  for (let size = -1; size < all.size; ) {
    size = all.size
    for (const ends of moves) if (ends.some((end) => all.has(end))) for (const end of ends) all.add(end)
  }
  return all
}

/** Returns the place of a changed row, or both places if the change moved it. */
export function placesOf({ relation, oldKey, newKey }: Image): readonly string[] {
  const keys = new Set([oldKey, newKey].filter((key) => key !== null))
  return Array.from(keys, (key) => placeOf(relation, key))
}

/** Tells whether a change starts from this state; an unknown state (of a row that moved here and away) fits any change. */
function fits({ relation, oldKey, newKey, newRow }: Image, state: ReadonlyMap<string, string>): boolean {
  const place = placeOf(relation, newKey ?? oldKey ?? '')
  const now = state.get(place)
  return now === undefined || now === stateOf(newRow)
}

/** Identifies a row across tables. */
export function placeOf(relation: string, key: string): string {
  return `${relation} ${key}`
}

/** Returns a row's state as a map key. */
export function stateOf(row: RowText | null): string {
  return row === null ? ABSENT : JSON.stringify(row)
}
