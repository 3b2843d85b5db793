/** Explains an unusable folder from the error of the system or of PGlite, which may be just a number. */
import { readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { show } from '../core/errors.ts'
import { DataDirectoryError } from './errors.ts'
import { openInMemory } from './open-pglite.ts'

const TAKE_ANOTHER = 'give embedded() another dataDir'
const MAKE_ROOM = 'make room on its disk and start again'
/** PostgreSQL's write-ahead files have this size, and it needs one to open a database that was killed. */
const WAL_SEGMENT_BYTES = 16 * 1024 * 1024

/** PGlite's file system only throws the numbers of WASI. */
const WASI_CODES: ReadonlyMap<unknown, string> = new Map([
  [2, 'EACCES'],
  [19, 'EDQUOT'],
  [29, 'EIO'],
  [33, 'EMFILE'],
  [41, 'ENFILE'],
  [51, 'ENOSPC'],
  [63, 'EPERM'],
  [69, 'EROFS'],
])

/** Explains an error of the file system about the folder. */
export function unusable(directory: string, cause: unknown): DataDirectoryError {
  const code = codeOf(cause)
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  const reason = isFull ? `${code}, its disk is full` : (code ?? saidBy(cause))
  return new DataDirectoryError(
    'embedded.unusable',
    { dataDir: directory, reason, remedy: isFull ? MAKE_ROOM : TAKE_ANOTHER },
    cause,
  )
}

/** Explains PGlite's failure to open the database at `path`. PostgreSQL's own reason is not available. */
export async function unopened(directory: string, path: string, cause: unknown): Promise<DataDirectoryError> {
  if (codeOf(cause) !== undefined) return unusable(directory, cause)
  const made = await versionOf(path)
  const ours = made === undefined ? undefined : await ownVersion()
  if (made !== ours && ours !== undefined) {
    const reason = `its database is of PostgreSQL ${made}, and this release of @electric-sql/pglite has ${ours}`
    const remedy = 'open it with the release that made it, dump it, and restore the dump into another dataDir'
    return new DataDirectoryError('embedded.unusable', { dataDir: directory, reason, remedy }, cause)
  }
  const free = await freeBytes(path)
  if (free !== undefined && free < WAL_SEGMENT_BYTES) {
    const reason = `PGlite cannot open the database, and its disk has ${Math.floor(free / 1024)} KiB left`
    return new DataDirectoryError('embedded.unusable', { dataDir: directory, reason, remedy: MAKE_ROOM }, cause)
  }
  const reason = `PGlite cannot open the database: ${saidBy(cause)}`
  return new DataDirectoryError(
    'embedded.unusable',
    { dataDir: directory, reason, remedy: `restore it from a copy, or ${TAKE_ANOTHER}` },
    cause,
  )
}

/** Returns a code such as `ENOSPC` if it comes from the system. Node's own codes say less than their messages. */
function codeOf(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null) return undefined
  if ('code' in cause && typeof cause.code === 'string' && /^E[A-Z0-9]+$/.test(cause.code)) return cause.code
  return 'errno' in cause ? WASI_CODES.get(cause.errno) : undefined
}

function saidBy(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : show(cause)
  return text.replaceAll(/\s+/g, ' ')
}

/** Version of the PostgreSQL that made a database. */
async function versionOf(path: string): Promise<number | undefined> {
  const text = await readFile(join(path, 'PG_VERSION'), 'utf8').catch(() => '')
  return /^\d+\s*$/.test(text) ? Number(text) : undefined
}

/** Version of the installed PGlite; readable only from an open database. */
async function ownVersion(): Promise<number | undefined> {
  try {
    const database = await openInMemory()
    try {
      const { rows } = await database.query('SHOW server_version_num')
      const [row] = rows as ReadonlyArray<{ readonly server_version_num: string }>
      return row && Math.floor(Number(row.server_version_num) / 10_000)
    } finally {
      await database.close()
    }
  } catch {
    return undefined
  }
}

async function freeBytes(path: string): Promise<number | undefined> {
  const found = await statfs(path).catch(() => undefined)
  return found && found.bavail * found.bsize
}
