/** Before the tests: the empty database that they begin with. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { COPY, COPY_FOLDER, COPY_TAR } from './pglite-copy.ts'

export async function setup(): Promise<void> {
  if (existsSync(COPY)) return
  const own = await mkdtemp(`${COPY}.`)
  const [folder, tar] = [COPY_FOLDER, COPY_TAR].map((path) => join(own, basename(path))) as [string, string]
  // Closed before it is copied: a running one would be taken for crashed, and recovered at each start.
  await (await PGlite.create(folder)).close()
  await promisify(execFile)('tar', ['-cf', tar, '-C', folder, '.'])
  await rename(own, COPY).catch(async (error: unknown) => {
    await rm(own, { recursive: true, force: true })
    // Another run was first.
    if (!existsSync(COPY)) throw error
  })
}
