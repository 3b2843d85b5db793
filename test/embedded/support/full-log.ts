/**
 * `full-log.ts DIR`, on a disk of its own, which only this process sees: writes until PostgreSQL finds no space for the
 * next segment of its log. Prints as JSON the statements' errors and whether a timer still fires afterwards.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from 'concordat/core'
import { embedded } from 'concordat/embedded'

const LEFT_BYTES = 8 * 1024 * 1024
const [disk = ''] = process.argv.slice(2)
if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'none', disk]).status !== 0) process.exit(2)
const { sql } = embedded({ dataDir: join(disk, 'data') })
await sql.query('CREATE TABLE t (text text)')
fill(join(disk, 'ballast'))

const failed = async (statement: string): Promise<string> => {
  const said = (error: unknown): string => String((error as { code?: unknown }).code ?? error)
  return sql.query(statement).then(() => 'done', said)
}
let first = 'done'
// Rows that are deleted again need no room but in the log.
for (let n = 0; n < 40 && first === 'done'; n++) {
  first = await failed(
    `WITH made AS (SELECT repeat(md5(n::text), 30) AS text FROM generate_series(1, 1000) n) INSERT INTO t SELECT text FROM made`,
  )
  if (first === 'done') first = await failed('TRUNCATE t')
}
const next = await failed('SELECT 1')
const timer = await new Promise((resolve) => setTimeout(() => resolve('fired'), 10))
process.stdout.write(JSON.stringify({ first, next, timer }))
process.exit()

function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(65_536))
  } catch (error) {
    if (!hasCode(error, 'ENOSPC')) throw error
  }
  ftruncateSync(file, fstatSync(file).size - LEFT_BYTES)
  closeSync(file)
}
