/**
 * A folder with a PGlite that survives kill -9.
 *
 *   DIR/lock       names the process that uses it, see `directory-lock.ts`, as do its other files
 *   DIR/concordat  marks the folder as ours: `begun` before the database is created, `ready` afterwards. A folder with
 *                  `begun` is incomplete, and is created again
 *   DIR/pg/        the database
 */
import { chmod, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'
import { ConcordatError, hasCode, toError } from '../core/errors.ts'
import { writeWhole } from './atomic-file-write.ts'
import { type DirectoryLock, isOfLock, lockDirectory, sweepLeftovers } from './directory-lock.ts'
import { DataDirectoryError } from './errors.ts'
import { closeDatabase, loadPglite, type OwnDatabase } from './open-pglite.ts'
import { unopened, unusable } from './unusable-folder-errors.ts'

export interface OpenDatabase {
  readonly database: OwnDatabase
  readonly close: () => Promise<void>
}

/**
 * Opens the folder. Statements throw `embedded.lost` once another process has it, and `embedded.unusable` once the disk has no
 * space for the log of the database. Only its owner can access the folder.
 * @throws `embedded.in_use`, `embedded.foreign`, `embedded.unusable`
 */
export async function openDataDirectory(path: string, clock: Clock = systemClock): Promise<OpenDatabase> {
  const directory = resolve(path)
  const lock = await onDisk(directory, async () => {
    await makeFolders(directory)
    await requireOurs(directory)
    await closeToOthers(directory)
    return lockDirectory(directory, clock)
  })
  try {
    await onDisk(directory, () => sweepLeftovers(directory))
    const database = await openDatabase(directory)
    const guard = guardDatabase(lock, database, directory)
    return { database, close: () => close(guard, database, lock, clock) }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Runs operations that the file system may refuse. @throws `embedded.unusable`, or our own errors unchanged */
async function onDisk<T>(directory: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof ConcordatError ? error : unusable(directory, error)
  }
}

/** Mode of the folder itself, like that of PostgreSQL's `initdb`; the folders above it get the usual mode. */
const OWNER_ONLY = 0o700
const ANY_READER = 0o777

/** Removes the rights of group and others from our folder. A file system without modes keeps its own. */
async function closeToOthers(directory: string): Promise<void> {
  const { mode } = await stat(directory)
  if ((mode & 0o077) !== 0) await chmod(directory, OWNER_ONLY).catch(() => undefined)
}

/** Not `mkdir` with `recursive`: Node never returns from it where nothing can be created, such as below /proc. */
async function makeFolders(directory: string, mode = OWNER_ONLY): Promise<void> {
  try {
    await mkdir(directory, { mode })
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT') || dirname(directory) === directory) throw error
    await makeFolders(dirname(directory), ANY_READER)
    await mkdir(directory, { mode }).catch((again: unknown) => {
      // Another process made it meanwhile.
      if (!hasCode(again, 'EEXIST')) throw again
    })
  }
}

/** @throws `embedded.foreign` */
async function requireOurs(directory: string): Promise<void> {
  if ((await markOf(directory)) !== undefined) return
  for (const entry of await readdir(directory)) {
    if (await isOfLock(directory, entry)) continue
    // Another process of ours may have begun it since.
    if ((await markOf(directory)) === undefined)
      throw new DataDirectoryError('embedded.foreign', { dataDir: directory, entry })
    return
  }
}

async function openDatabase(directory: string): Promise<OwnDatabase> {
  const PGlite = await loadPglite()
  const path = join(directory, 'pg')
  const isReady = (await markOf(directory)) === 'ready'
  if (!isReady) {
    await writeMark(directory, 'begun')
    await onDisk(directory, () => rm(path, { recursive: true, force: true }))
  }
  const database = await PGlite.create({ dataDir: path }).catch(async (error: unknown) => {
    throw await unopened(directory, path, error)
  })
  try {
    if (!isReady) await writeMark(directory, 'ready')
    return database
  } catch (error) {
    await database.close().catch(() => undefined)
    throw error
  }
}

interface DatabaseGuard {
  /** False: nothing more may be written to the database, not even when it closes. */
  isUsable(): boolean
}

/**
 * Refuses every statement once another process has the folder, which reads and writes it; or once PostgreSQL found no space for
 * its log, because PGlite would try to recover in a loop that never returns, and block the process.
 */
function guardDatabase(lock: DirectoryLock, database: OwnDatabase, directory: string): DatabaseGuard {
  const run = database.execProtocolRawSync.bind(database)
  let isFull = false
  database.execProtocolRawSync = (message) => {
    if (!lock.isHeld()) throw new DataDirectoryError('embedded.lost', { dataDir: directory })
    if (isFull)
      throw new DataDirectoryError('embedded.unusable', {
        dataDir: directory,
        reason: NO_ROOM,
        remedy: 'make room on its disk, then start the process again',
      })
    return run(message)
  }
  // The two ways in which PGlite returns the answer of a statement.
  for (const name of ['execProtocol', 'execProtocolStream'] as const) {
    const exec = database[name].bind(database)
    database[name] = async (message, options) => {
      try {
        return await exec(message, options)
      } catch (error) {
        isFull ||= hasCode(error, DISK_FULL) && toError(error).message.includes('"pg_wal/')
        throw error
      }
    }
  }
  return { isUsable: () => lock.isHeld() && !isFull }
}

const NO_ROOM = 'its disk has no room for the log of the database'
const DISK_FULL = '53100'

/** Closing the database writes to it. */
async function close(guard: DatabaseGuard, database: OwnDatabase, lock: DirectoryLock, clock: Clock): Promise<void> {
  try {
    if (guard.isUsable()) await closeDatabase(database, clock)
  } finally {
    await lock.release()
  }
}

const MARK = 'concordat'
async function markOf(directory: string): Promise<string | undefined> {
  const text = await readFile(join(directory, MARK), 'utf8').catch(() => undefined)
  return text === 'begun' || text === 'ready' ? text : undefined
}

function writeMark(directory: string, text: 'begun' | 'ready'): Promise<void> {
  return onDisk(directory, () => writeWhole(join(directory, MARK), text))
}
