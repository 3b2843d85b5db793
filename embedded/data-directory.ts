/**
 * A folder with a PGlite that survives kill -9.
 *
 *   DIR/lock       which process uses it, see `directory-lock.ts`
 *   DIR/concordat  that the folder is ours: `begun` before the database is made, `ready` when it has been. One that was
 *                  only begun is half made, and is made again
 *   DIR/pg/        the database
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { isOfLock, lockDirectory, sweepTemporary, temporaryName } from './directory-lock.ts'
import { DataDirectoryForeign, DataDirectoryInUse, DataDirectoryUnusable } from './errors.ts'
import { type OwnDatabase, openPglite } from './open-pglite.ts'

export interface OpenDatabase {
  readonly database: OwnDatabase
  readonly close: () => Promise<void>
}

/** @throws DataDirectoryInUse, DataDirectoryForeign, DataDirectoryUnusable; what PGlite says */
export async function openDataDirectory(path: string, clock: Clock = systemClock): Promise<OpenDatabase> {
  const directory = resolve(path)
  const unlock = await claim(directory, clock)
  try {
    const database = await openDatabase(directory)
    return {
      database,
      close: async () => {
        await database.close()
        await unlock()
      },
    }
  } catch (error) {
    await unlock()
    throw error
  }
}

/** Makes the folder if it is missing, and locks it. @returns gives the lock back */
async function claim(directory: string, clock: Clock): Promise<() => Promise<void>> {
  try {
    await makeFolders(directory)
    await requireOurs(directory)
    const unlock = await lockDirectory(directory, clock)
    await sweepTemporary(directory)
    return unlock
  } catch (error) {
    if (error instanceof DataDirectoryForeign || error instanceof DataDirectoryInUse) throw error
    throw new DataDirectoryUnusable(directory, error)
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
  const path = join(directory, 'pg')
  const isReady = (await markOf(directory)) === 'ready'
  if (!isReady) {
    await writeMark(directory, 'begun')
    await rm(path, { recursive: true, force: true })
  }
  const database = await openPglite(path)
  if (!isReady) await writeMark(directory, 'ready')
  return database
}

const MARK = 'concordat'
async function markOf(directory: string): Promise<string | undefined> {
  const text = await readFile(join(directory, MARK), 'utf8').catch(() => undefined)
  return text === 'begun' || text === 'ready' ? text : undefined
}

/** Whole or not at all. */
async function writeMark(directory: string, text: 'begun' | 'ready'): Promise<void> {
  const temporary = join(directory, temporaryName())
  await writeFile(temporary, text)
  await rename(temporary, join(directory, MARK))
}
