/** Before the tests: the empty database that they begin with. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { COPY, COPY_FOLDER, COPY_TAR } from './pglite-copy.ts'

/**
 * Removes what each start of a copy would read or clear in vain: databases that PGlite never opens, and most of 128 MB of buffers. A
 * start then takes half of the time.
 */
async function smaller(database: PGlite): Promise<PGlite> {
  for (const template of ['template0', 'template1']) {
    await database.exec(`ALTER DATABASE ${template} IS_TEMPLATE false`)
    await database.exec(`DROP DATABASE ${template}`)
  }
  await database.exec("ALTER SYSTEM SET shared_buffers = '4MB'")
  return database
}

export async function setup(): Promise<void> {
  if (existsSync(COPY)) return
  const own = await mkdtemp(`${COPY}.`)
  const [folder, tar] = [COPY_FOLDER, COPY_TAR].map((path) => join(own, basename(path))) as [string, string]
  // Closed before it is copied: a running one would be taken for crashed, and recovered at each start.
  await (await smaller(await PGlite.create(folder))).close()
  await promisify(execFile)('tar', ['-cf', tar, '-C', folder, '.'])
  await rename(own, COPY).catch(async (error: unknown) => {
    await rm(own, { recursive: true, force: true })
    // Another run was first.
    if (!existsSync(COPY)) throw error
  })
}
