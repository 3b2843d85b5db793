/**
 * A folder with a PGlite that survives kill -9.
 *
 *   DIR/lock       which process uses it, see `directory-lock.ts`, with what else belongs to that
 *   DIR/concordat  that the folder is ours: `begun` before the database is made, `ready` when it has been. One that was
 *                  only begun is half made, and is made again
 *   DIR/pg/        the database
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'
import { ConcordatError, hasCode } from '../core/errors.ts'
import { type DirectoryLock, isOfLock, lockDirectory, sweepLeftovers } from './directory-lock.ts'
import { DataDirectoryForeign, DataDirectoryLost } from './errors.ts'
import { loadPglite, type OwnDatabase } from './open-pglite.ts'
import { unopened, unusable } from './unusable.ts'
import { writeWhole } from './whole-file.ts'

export interface OpenDatabase {
  readonly database: OwnDatabase
  readonly close: () => Promise<void>
}

/**
 * Statements throw DataDirectoryLost once another process has the folder.
 * @throws DataDirectoryInUse, DataDirectoryForeign, DataDirectoryUnusable
 */
export async function openDataDirectory(path: string, clock: Clock = systemClock): Promise<OpenDatabase> {
  const directory = resolve(path)
  const lock = await onDisk(directory, async () => {
    await makeFolders(directory)
    await requireOurs(directory)
    return lockDirectory(directory, clock)
  })
  try {
    await onDisk(directory, () => sweepLeftovers(directory))
    const database = await openDatabase(directory)
    stopWithout(lock, database, directory)
    return { database, close: () => close(database, lock) }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** Runs what the file system may refuse. @throws DataDirectoryUnusable, or our own error as it is */
async function onDisk<T>(directory: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof ConcordatError ? error : unusable(directory, error)
  }
}

/** Not `mkdir` with `recursive`: Node never comes back from it where nothing can be made, such as below /proc. */
async function makeFolders(directory: string): Promise<void> {
  try {
    await mkdir(directory)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT') || dirname(directory) === directory) throw error
    await makeFolders(dirname(directory))
    await mkdir(directory).catch((again: unknown) => {
      // Another process made it meanwhile.
      if (!hasCode(again, 'EEXIST')) throw again
    })
  }
}

/** @throws DataDirectoryForeign */
async function requireOurs(directory: string): Promise<void> {
  if ((await markOf(directory)) !== undefined) return
  for (const entry of await readdir(directory)) {
    if (await isOfLock(directory, entry)) continue
    // Another process of ours may have begun it since.
    if ((await markOf(directory)) === undefined) throw new DataDirectoryForeign(directory, entry)
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

/** Whoever else has the folder reads and writes it: then nothing of ours may be run any more. */
function stopWithout(lock: DirectoryLock, database: OwnDatabase, directory: string): void {
  const run = database.execProtocolRawSync.bind(database)
  database.execProtocolRawSync = (message) => {
    if (!lock.isHeld()) throw new DataDirectoryLost(directory)
    return run(message)
  }
}

/** A database that is closed is written to. */
async function close(database: OwnDatabase, lock: DirectoryLock): Promise<void> {
  try {
    if (lock.isHeld()) await database.close()
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
