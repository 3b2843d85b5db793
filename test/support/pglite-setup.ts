/** Before the unit tests: the empty database that they begin with. */
import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { PGlite } from '@electric-sql/pglite'
import { COPY } from './pglite.ts'

export async function setup(): Promise<void> {
  if (existsSync(COPY)) return
  const database = new PGlite()
  await database.waitReady
  const copy = await database.dumpDataDir('none')
  await database.close()
  const own = `${COPY}.${process.pid}`
  await writeFile(own, Buffer.from(await copy.arrayBuffer()), { mode: 0o600 })
  await rename(own, COPY)
}
