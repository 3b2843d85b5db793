/** One process at a time uses a folder: the file `lock` names it. One that is gone counts for nothing. */
import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, MINUTE, SECOND } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import { DataDirectoryInUse } from './errors.ts'

/** A process that was just told to stop may take this long to close its database. */
const WAIT_MS = 5 * SECOND
const PAUSE_MS = 100
/** A file that is half written for so long belongs to nobody any more. */
const ABANDONED_MS = 1 * MINUTE

const LOCK = 'lock'
const TEMPORARY = /^concordat-[0-9a-f-]{36}\.tmp$/

/** For what is written whole or not at all, and moved into its place then. */
export const temporaryName = (): string => `concordat-${randomUUID()}.tmp`

/** A lock that names a process, or what one of ours has half written. */
export async function isOfLock(directory: string, entry: string): Promise<boolean> {
  if (TEMPORARY.test(entry)) return true
  if (entry !== LOCK) return false
  const text = await readFile(join(directory, LOCK), 'utf8').catch((error: unknown) =>
    hasCode(error, 'ENOENT') ? '0 ' : '',
  )
  return /^\d+ \d*$/.test(text)
}

/** @returns gives the lock back @throws DataDirectoryInUse */
export async function lockDirectory(directory: string, clock: Clock): Promise<() => Promise<void>> {
  const path = join(directory, LOCK)
  const mine = join(directory, temporaryName())
  await writeFile(mine, `${process.pid} ${await startedAt(process.pid)}`)
  const giveUpAt = clock.monotonic() + WAIT_MS
  try {
    for (;;) {
      // A link is made whole or not at all, and fails if the name is taken.
      if (await takes(mine, path)) return () => unlink(path).catch(() => undefined)
      const user = await removeStaleLock(directory, path)
      if (user !== undefined && clock.monotonic() > giveUpAt) throw new DataDirectoryInUse(directory, user)
      if (user !== undefined) await clock.sleep(PAUSE_MS)
    }
  } finally {
    await unlink(mine)
  }
}

/** Removes what killed processes had half written; not what another one is writing just now. */
export async function sweepTemporary(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (!TEMPORARY.test(entry)) continue
    const path = join(directory, entry)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(path, { force: true })
  }
}

async function takes(mine: string, path: string): Promise<boolean> {
  try {
    await link(mine, path)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

/** @returns the process that holds the lock, when it lives */
async function removeStaleLock(directory: string, path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const [id, started] = text.split(' ')
  const pid = Number(id)
  if (isAlive(pid) && (await startedAt(pid)) === started) return pid
  const aside = join(directory, temporaryName())
  await rename(path, aside).catch(() => undefined)
  // Another process that found the same dead lock may have made its own meanwhile: then it is put back.
  const moved = await readFile(aside, 'utf8').catch(() => undefined)
  if (moved !== undefined && moved !== text) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
  return undefined
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return hasCode(error, 'EPERM')
  }
}

/** Tells a process from a later one that got the same id, where the system says so. */
async function startedAt(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}
