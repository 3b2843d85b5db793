/**
 * Which shard is the home of a saga id. Pure.
 *
 * A layout is the set of shards that new sagas go to; the layouts are kept in the order in which they came, and the last one
 * counts. Within a layout the home is found by rendezvous hashing over the names: every process gets the same answer, and a
 * shard that is added takes its part of the ids from all others and moves none between them.
 *
 * A saga never moves. So an id may be on the home that it had under an earlier layout, and is looked for there first.
 *
 * @see Thaler, Ravishankar: A Name-Based Mapping Scheme for Rendezvous (1996)
 */
import { createHash } from 'node:crypto'

/** Names of shards, sorted. */
export type Layout = readonly string[]

/** From the first to the one that counts. A layout's generation is its place, from 1. */
export type Layouts = readonly Layout[]

/** Where a saga is, or will be. */
export interface Homes {
  /** Where it is started. */
  readonly home: string
  /** Where it would have been started before, the oldest first; without `home`. */
  readonly older: readonly string[]
  /** Home under the first layout: the same in every process, even in one that does not know the newest layouts. */
  readonly first: string
}

/** The shard with the highest SHA-256 of name, NUL and id. */
export function homeOf(layout: Layout, id: string): string {
  let best = { name: layout[0] ?? '', score: '' }
  for (const name of layout) {
    const score = createHash('sha256').update(`${name}\0${id}`).digest('hex')
    if (score > best.score) best = { name, score }
  }
  return best.name
}

export function homesOf(layouts: Layouts, id: string): Homes {
  const home = homeOf(layouts.at(-1) ?? [], id)
  const older = new Set(layouts.slice(0, -1).map((layout) => homeOf(layout, id)))
  older.delete(home)
  return { home, older: [...older], first: homeOf(layouts[0] ?? [], id) }
}

/** Names of shards as they are kept. */
export function layoutOf(names: Iterable<string>): Layout {
  return [...new Set(names)].toSorted()
}

export function isSame(a: Layout, b: Layout): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index])
}

/** True when `long` is `short`, or came of it. */
export function isFollowedBy(short: Layouts, long: Layouts): boolean {
  return short.length <= long.length && short.every((layout, index) => isSame(layout, long[index] ?? []))
}

/** Every shard on which a saga may be. */
export function namesIn(layouts: Layouts): Layout {
  return layoutOf(layouts.flat())
}
