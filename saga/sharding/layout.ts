/**
 * Computes the shard of a saga id. Pure.
 *
 * A layout is the set of shards that new sagas go to; layouts are stored in their order, and the last one applies. Within a
 * layout the shard is found by rendezvous hashing over the names: every process computes the same one, and an added shard takes
 * its part of the ids from all others, without moving ids between them.
 *
 * A saga never moves, so it may be on the shard of an earlier layout, where it is looked for first.
 *
 * @see Thaler, Ravishankar: A Name-Based Mapping Scheme for Rendezvous (1996)
 */
import { createHash } from 'node:crypto'

/** Names of shards, sorted. */
export type Layout = readonly string[]

/** Layouts from the first to the current one. The generation of a layout is its position, from 1. */
export type Layouts = readonly Layout[]

/** Possible shards of a saga. */
export interface Homes {
  /** Shard on which it is started. */
  readonly home: string
  /** Shards on which it would have been started before, oldest first; without `home`. */
  readonly older: readonly string[]
  /** Shard under the first layout: the same in every process, even in one that does not know the newest layouts. */
  readonly first: string
}

/** Returns the shard with the highest SHA-256 of name, NUL and id. */
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

/** Returns the names of shards in their stored form. */
export function layoutOf(names: Iterable<string>): Layout {
  return [...new Set(names)].toSorted()
}

export function isSame(a: Layout, b: Layout): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index])
}

/** True when `long` equals `short` or extends it. */
export function isFollowedBy(short: Layouts, long: Layouts): boolean {
  return short.length <= long.length && short.every((layout, index) => isSame(layout, long[index] ?? []))
}

/** Returns every shard on which a saga may be. */
export function namesIn(layouts: Layouts): Layout {
  return layoutOf(layouts.flat())
}
