/**
 * `--data DIR`: a PGlite on disk that survives kill -9.
 *
 *   DIR/lock          which process uses it; one of a dead process counts for nothing
 *   DIR/manifest.json which orders, accounts and stock it belongs to
 *   DIR/ready         written once initdb has finished; without it `pg` is half made and is made again
 *   DIR/pg/           the database
 */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { link, mkdir, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { UsageError } from '../options.ts'
import type { InputFiles } from './files.ts'

export interface DataDirectory {
  readonly database: PGlite
  close(): Promise<void>
}

const OURS: ReadonlySet<string> = new Set(['lock', 'manifest.json', 'ready', 'pg'])

/** What is half written, see `lock` and `writeWhole`; other `.tmp` files are somebody else's. */
const HALF_WRITTEN = /^((manifest\.json|ready)\.)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/

/** @throws UsageError when it is used by another process, belongs to other files, or is no data directory */
export async function openDataDirectory(path: string, files: InputFiles): Promise<DataDirectory> {
  const directory = resolve(path)
  await makeDirectory(directory)
  const unlock = await lock(directory)
  try {
    await sweepTemporary(directory)
    await checkManifest(directory, files)
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

async function makeDirectory(directory: string): Promise<void> {
  const entries = await makeFolders(directory)
    .then(() => readdir(directory))
    .catch((error: unknown) => {
      throw new UsageError(`--data: ${directory} cannot be used as a folder (${codeOf(error)}): pass another one`)
    })
  const foreign =
    entries.find((entry) => !OURS.has(entry) && !HALF_WRITTEN.test(entry)) ?? (await unclaimed(entries, directory))
  if (foreign === undefined) return
  throw new UsageError(`--data: ${directory} holds "${foreign}", which is not ours: pass an empty folder or a new one`)
}

/** Named as ours is, and yet not ours: the manifest is written before the database, and a lock names a process. */
async function unclaimed(entries: readonly string[], directory: string): Promise<string | undefined> {
  const begun = entries.find((entry) => entry === 'pg' || entry === 'ready')
  if (begun !== undefined && !entries.includes('manifest.json')) return begun
  if (!entries.includes('lock')) return undefined
  const text = await readFile(join(directory, 'lock'), 'utf8').catch((error: unknown) =>
    codeOf(error) === 'ENOENT' ? '0 ' : '',
  )
  return /^\d+ \d*$/.test(text) ? undefined : 'lock'
}

/** Not `mkdir` with `recursive`: Node never comes back from it where nothing can be made, such as below /proc. */
async function makeFolders(directory: string): Promise<void> {
  try {
    await mkdir(directory)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || dirname(directory) === directory) throw error
    await makeFolders(dirname(directory))
    await mkdir(directory)
  }
}

const OLD_MS = 60_000

/** What a killed process had half written; not what another one is writing just now. */
async function sweepTemporary(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (!HALF_WRITTEN.test(entry)) continue
    const path = join(directory, entry)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > OLD_MS) await rm(path, { force: true })
  }
}

async function openDatabase(directory: string): Promise<PGlite> {
  const path = join(directory, 'pg')
  const ready = join(directory, 'ready')
  if (!(await exists(ready))) await rm(path, { recursive: true, force: true })
  const database = await PGlite.create({ dataDir: path })
  if (!(await exists(ready))) await writeWhole(ready, '')
  return database
}

/** What the directory was begun with is what it goes on with: other orders would mix two runs into one ledger. */
async function checkManifest(directory: string, files: InputFiles): Promise<void> {
  const path = join(directory, 'manifest.json')
  const now: Record<string, string> = {
    orders: files.isRereadable ? await digestOf(files.orders) : '-',
    accounts: await digestOf(files.accounts),
    stock: await digestOf(files.stock),
  }
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return writeWhole(path, JSON.stringify(now))
  const before = manifestOf(text)
  for (const [what, digest] of Object.entries(now)) {
    if (before[what] === digest || digest === '-' || before[what] === '-') continue
    throw new UsageError(
      `--data: ${directory} was begun with another ${what} file: run it with the same files, or pass a new folder`,
    )
  }
}

/** One that is somebody else's is the manifest of other files. */
function manifestOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array)
  return hash.digest('hex')
}

/** A run that was just interrupted may take this long to close its database. */
const LOCK_WAIT_MS = 5_000

/** @returns gives the lock back */
async function lock(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock')
  const mine = join(directory, `${randomUUID()}.tmp`)
  const me = `${process.pid} ${await startedAt(process.pid)}`
  await writeFile(mine, me).catch((error: unknown) => {
    throw new UsageError(`--data: ${directory} cannot be written (${codeOf(error)}): pass another folder`)
  })
  const giveUpAt = performance.now() + LOCK_WAIT_MS
  try {
    for (;;) {
      try {
        // A link is made whole or not at all, and fails if the name is taken.
        await link(mine, path)
        return () => unlink(path).catch(() => undefined)
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
        const user = await removeStaleLock(directory, path)
        if (user !== undefined && performance.now() > giveUpAt) {
          throw new UsageError(`--data: ${directory} is in use by process ${user}: wait for it, or pass another folder`)
        }
        if (user !== undefined) await pause(100)
      }
    }
  } finally {
    await unlink(mine)
  }
}

/** @returns the process that holds the lock, when it is alive */
async function removeStaleLock(directory: string, path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const [id, started] = text.split(' ')
  const pid = Number(id)
  if (isAlive(pid) && (await startedAt(pid)) === started) return pid
  const aside = join(directory, `${randomUUID()}.tmp`)
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
    return codeOf(error) === 'EPERM'
  }
}

/** Tells a process from a later one that got the same id, where the system says so. */
async function startedAt(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`
  await writeFile(temporary, text)
  await rename(temporary, path)
}

async function exists(path: string): Promise<boolean> {
  return (await readFile(path).catch(() => undefined)) !== undefined
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
