/**
 * Opens databases on a small disk that only its own processes see: `full-disk.ts DIR new` makes a database on one that
 * is too small; `full-disk.ts DIR killed` opens one that was killed and has no room to recover. Prints the message of
 * `embedded`.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasCode } from 'concordat/core'
import { embedded } from 'concordat/embedded'

const [disk = '', mode = ''] = process.argv.slice(2)
const dataDir = join(disk, 'data')
const { sql } = embedded({ dataDir })

if (mode === 'fills') {
  await sql.query('CREATE TABLE t AS SELECT generate_series(1, 200000) AS n')
  await sql.query('UPDATE t SET n = n + 1')
  fill(join(disk, 'other'))
  process.kill(process.pid, 'SIGKILL')
}
const megabytes = mode === 'new' ? 4 : 160
if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'none', disk]).status !== 0) process.exit(2)
mkdirSync(dataDir)
if (mode === 'killed') spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), disk, 'fills'])
const said = await sql.query('SELECT 1').then(
  () => 'opened',
  (error: unknown) => String(error),
)
process.stdout.write(said)
process.exit()

/** Fills the disk except for 256 KiB, so that the folder can be locked. */
function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(65_536))
  } catch (error) {
    if (!hasCode(error, 'ENOSPC')) throw error
  }
  ftruncateSync(file, fstatSync(file).size - 256 * 1024)
  closeSync(file)
}
