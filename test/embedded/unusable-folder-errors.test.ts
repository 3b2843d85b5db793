import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLogger } from 'concordat/core'
import { embedded } from 'concordat/embedded'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makingDatabases } from '../support/pglite-copy.ts'

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'concordat-unusable-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A folder with a database that was closed. */
async function closedFolder(): Promise<string> {
  const dataDir = await folder()
  const { sql, locks } = embedded({ dataDir })
  await sql.query('SELECT 1')
  await locks({ instance: 'i', service: 's', logger: silentLogger, telemetry: undefined }).close()
  return dataDir
}

const open = (dataDir: string): Promise<unknown> => embedded({ dataDir }).sql.query('SELECT 1')

describe('a folder in which PGlite cannot open the database', () => {
  it('is of another PostgreSQL: reports which one, and stays unchanged', async () => {
    const dataDir = await closedFolder()
    const ours = (await readFile(join(dataDir, 'pg/PG_VERSION'), 'utf8')).trim()
    await writeFile(join(dataDir, 'pg/PG_VERSION'), '12\n')
    await expect(open(dataDir)).rejects.toMatchObject({
      code: 'embedded.unusable',
      dataDir,
      message: expect.stringMatching(
        `is of PostgreSQL 12, and this release of @electric-sql/pglite has ${ours}.*: open it with the release that made it`,
      ),
      cause: expect.any(Error),
    })
    await writeFile(join(dataDir, 'pg/PG_VERSION'), `${ours}\n`)
    await open(dataDir)
  }, 60_000)

  it('is damaged: reports PGlite’s message', async () => {
    const dataDir = await closedFolder()
    await writeFile(join(dataDir, 'pg/global/pg_control'), '')
    await expect(open(dataDir)).rejects.toMatchObject({
      code: 'embedded.unusable',
      message: expect.stringMatching(/PGlite cannot open the database: .+\): restore it from a copy/),
    })
  }, 60_000)
})

/** Opens a database on a disk that only its processes see. Undefined where mounting is not permitted. */
function openOnFullDisk(disk: string, mode: 'new' | 'killed'): string | undefined {
  return onDiskOfItsOwn('full-disk.ts', [disk, mode], mode === 'new' ? makingDatabases() : process.env)
}

function onDiskOfItsOwn(program: string, args: readonly string[], env = process.env): string | undefined {
  const file = fileURLToPath(new URL(`support/${program}`, import.meta.url))
  const node = [process.execPath, '--conditions', 'concordat-source', file, ...args]
  const limits = { encoding: 'utf8', env, timeout: 90_000, killSignal: 'SIGKILL' } as const
  const { status, signal, stdout } = spawnSync('unshare', ['--mount', ...node], limits)
  expect(signal, `${program} did not end`).toBeNull()
  return status === 0 ? stdout : undefined
}

describe('a folder on a full disk (where `unshare` and `mount` are permitted)', () => {
  it('is reported when the database cannot be made', async ({ skip }) => {
    const said = openOnFullDisk(await folder(), 'new')
    if (said === undefined) return skip('cannot mount')
    expect(said).toMatch(/^DataDirectoryError: .* \(ENOSPC, its disk is full\): make room on its disk and start again$/)
  }, 60_000)

  it('is reported when a killed database cannot be opened again', async ({ skip }) => {
    const said = openOnFullDisk(await folder(), 'killed')
    if (said === undefined) return skip('cannot mount')
    expect(said).toMatch(/^DataDirectoryError: .*, and its disk has \d+ KiB left\): make room on its disk/)
  }, 60_000)

  it('refuses every statement once the log has no space, and keeps timers running', async ({ skip }) => {
    const said = onDiskOfItsOwn('full-log.ts', [await folder()])
    if (said === undefined) return skip('cannot mount')
    expect(JSON.parse(said)).toEqual({ first: '53100', next: 'embedded.unusable', timer: 'fired' })
  }, 120_000)
})

it.each(['is made', 'was open to others'])('a folder that %s is for its owner alone', async (how) => {
  const dataDir = join(await folder(), 'data')
  if (how === 'was open to others') await mkdir(dataDir, { mode: 0o755 })
  await open(dataDir)
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
})
