/**
 * PGlite with an empty database, begun from a copy of one: making a database takes three seconds of a core, reading one a
 * third of a second. The copy is made once per version of PGlite, by `pglite-setup.ts`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import manifest from '../../package.json' with { type: 'json' }

export const COPY = join(
  tmpdir(),
  `concordat-tests-pglite-${manifest.devDependencies['@electric-sql/pglite']}-${process.getuid?.() ?? 0}.tar`,
)

/** In memory. Without the copy it makes a database of its own. */
export function freshPglite(): PGlite {
  return existsSync(COPY) ? new PGlite({ loadDataDir: new WholeFile(COPY) }) : new PGlite()
}

/** A `Blob` hands out its 40 MB in small parts that are put together again: a quarter of the time that a start takes. */
class WholeFile extends Blob {
  readonly #path: string

  constructor(path: string) {
    super([])
    this.#path = path
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return new Uint8Array(readFileSync(this.#path)).buffer
  }
}
