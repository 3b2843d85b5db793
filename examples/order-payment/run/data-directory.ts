/**
 * `--data DIR`: the folder of an embedded run. A run resumes only with the input files it was created with.
 *
 *   DIR/manifest.json hashes of the orders, accounts and stock files
 *   DIR/database/     the folder of `embedded`, used by one process at a time
 */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { silentLogger } from 'concordat/core'
import { DataDirectoryError, type Embedded, embedded } from 'concordat/embedded'
import { UsageError } from '../options.ts'
import type { InputFiles } from './files.ts'

/** An embedded database that stays open until `close`, even when all services on it have stopped. */
export interface OpenEmbedded {
  readonly parts: Embedded
  readonly close: () => Promise<void>
}

const MANIFEST = 'manifest.json'
const DATABASE = 'database'
/** Manifests that a killed process left incomplete. The run does not own other `.tmp` files. */
const HALF_WRITTEN = /^manifest\.json\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/

/** Opens the folder. @throws UsageError when it is in use, belongs to other files, or is no data directory */
export async function openDataDirectory(path: string, files: InputFiles): Promise<OpenEmbedded> {
  const directory = resolve(path)
  await requireOurs(directory)
  const manifest = await manifestOf(files)
  await compareManifest(directory, manifest)
  const opened = await keepOpen(embedded({ dataDir: join(directory, DATABASE) })).catch((error: unknown) => {
    throw usageErrorOf(error, directory)
  })
  try {
    // The database lock now excludes other processes, so this comparison is final.
    if (!(await compareManifest(directory, manifest))) await writeManifest(directory, manifest)
    for (const entry of await readdir(directory)) if (HALF_WRITTEN.test(entry)) await rm(join(directory, entry))
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** Keeps the database open. The last user of its locks closes it, so the run holds one until `close`. */
export async function keepOpen(parts: Embedded): Promise<OpenEmbedded> {
  await parts.sql.query('SELECT 1')
  const identity = { service: 'run', instance: 'run', logger: silentLogger, telemetry: undefined }
  const user = parts.locks(identity)
  return { parts, close: () => user.close() }
}

async function requireOurs(directory: string): Promise<void> {
  const entries = await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return []
    throw unusable(directory, codeOf(error))
  })
  const foreign = entries.find((entry) => entry !== MANIFEST && entry !== DATABASE && !HALF_WRITTEN.test(entry))
  if (foreign !== undefined) throw notOurs(directory, foreign)
}

function usageErrorOf(error: unknown, directory: string): unknown {
  if (!(error instanceof DataDirectoryError)) return error
  if (error.code === 'embedded.foreign') return notOurs(directory, DATABASE)
  if (error.code === 'embedded.unusable') return unusable(directory, error.reason)
  if (error.code !== 'embedded.in_use') return error
  return new UsageError(`--data: ${directory} is in use by process ${error.pid}: wait for it, or pass another folder`)
}

function notOurs(directory: string, entry: string): UsageError {
  return new UsageError(
    `--data: ${directory} holds "${entry}", which does not belong to a data directory: pass an empty folder or a new one`,
  )
}

function unusable(directory: string, reason: string): UsageError {
  return new UsageError(`--data: ${directory} cannot be used as a folder (${reason}): pass another one`)
}

type Manifest = Readonly<Record<string, unknown>>

async function manifestOf(files: InputFiles): Promise<Manifest> {
  return {
    // The run cannot read a pipe twice.
    orders: files.isRereadable ? await digestOf(files.orders) : '-',
    accounts: await digestOf(files.accounts),
    stock: await digestOf(files.stock),
  }
}

/**
 * Refuses files that differ from those of the first run, because other orders would mix two runs in one ledger.
 * @returns false when the folder has no manifest yet
 */
async function compareManifest(directory: string, now: Manifest): Promise<boolean> {
  const text = await readFile(join(directory, MANIFEST), 'utf8').catch(() => undefined)
  if (text === undefined) return false
  const before = parse(text)
  for (const [what, digest] of Object.entries(now)) {
    if (before[what] === digest || digest === '-' || before[what] === '-') continue
    throw new UsageError(
      `--data: ${directory} was created with another ${what} file: run it with the same files, or pass a new folder`,
    )
  }
  return true
}

/** Parses the manifest. Returns `{}` for other content, which then matches no files. */
function parse(text: string): Manifest {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Manifest) : {}
  } catch {
    return {}
  }
}

/** Writes the manifest atomically. */
async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  const temporary = join(directory, `${MANIFEST}.${randomUUID()}.tmp`)
  await writeFile(temporary, JSON.stringify(manifest))
  await rename(temporary, join(directory, MANIFEST))
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array)
  return hash.digest('hex')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
