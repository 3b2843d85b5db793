/**
 * An empty database that was closed in good order, to begin others from: making one takes three seconds of a core, a copy a
 * third of a second. It is made once per version of PGlite, by `pglite-setup.ts`.
 */
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }

export const COPY: string = join(
  tmpdir(),
  `concordat-tests-pglite-${manifest.devDependencies['@electric-sql/pglite']}-${process.getuid?.() ?? 0}-small`,
)
/** Copies for a database on disk, and for one in memory. */
export const COPY_FOLDER: string = join(COPY, 'pg')
export const COPY_TAR: string = join(COPY, 'pg.tar')

interface Options {
  readonly dataDir?: string
  readonly loadDataDir?: Blob
  readonly fs?: unknown
  readonly noInitDb?: boolean
}

/** Options for PGlite: the given ones, with the copy where it would create a database. */
export function begunFromCopy<T extends Options>(options: T): T {
  const { dataDir = 'memory://', loadDataDir, fs, noInitDb } = options
  if (loadDataDir !== undefined || fs !== undefined || noInitDb === true || !existsSync(COPY)) return options
  if (dataDir === '' || dataDir.startsWith('memory://')) return { ...options, loadDataDir: new WholeFile(COPY_TAR) }
  const folder = dataDir.replace(/^file:\/\//, '')
  if (!folder.includes('://') && !existsSync(join(folder, 'PG_VERSION')))
    cpSync(COPY_FOLDER, folder, { recursive: true })
  return options
}

/** The environment of a process that makes its databases itself, as a user's does. */
export function makingDatabases(): NodeJS.ProcessEnv {
  const options = process.env['NODE_OPTIONS'] ?? ''
  return { ...process.env, NODE_OPTIONS: options.replace(/--import=\S*pglite-begun\.ts/, '') }
}

/** A `Blob` hands out its 40 MB in small parts that are put together again: a quarter of the time that a start takes. */
class WholeFile extends Blob {
  readonly #path: string

  constructor(path: string) {
    super([])
    this.#path = path
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return readFileSync(this.#path).buffer
  }
}
