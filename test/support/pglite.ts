import { PGlite } from '@electric-sql/pglite'
import { begunFromCopy } from './pglite-copy.ts'

/** PGlite in memory with an empty database, begun from a copy of one. Without the copy it makes a database of its own. */
export function freshPglite(): PGlite {
  return new PGlite(begunFromCopy({}))
}
