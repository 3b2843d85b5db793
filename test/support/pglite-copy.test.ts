import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { expect, onTestFinished, test } from 'vitest'
import { freshPglite } from './pglite.ts'
import { makingDatabases } from './pglite-copy.ts'

const IDENTIFIER = 'SELECT system_identifier::text AS id FROM pg_control_system()'

/** Identifier that each database gets when it is created. */
async function identifier(database: PGlite): Promise<string | undefined> {
  const { rows } = await database.query<{ id: string }>(IDENTIFIER)
  await database.close()
  return rows[0]?.id
}

const CHILD = `
const { PGlite } = await import('@electric-sql/pglite')
for (const dataDir of process.argv.slice(1)) {
  const database = await PGlite.create(dataDir)
  console.log((await database.query("${IDENTIFIER}")).rows[0].id)
  await database.close()
}`

test('in memory and on disk, here and in a process of its own, PGlite begins with the copy', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const copied = await identifier(freshPglite())
  expect(await identifier(new PGlite())).toBe(copied)
  const args = ['--input-type=module', '-e', CHILD, 'memory://', join(folder, 'a'), `file://${join(folder, 'b')}`]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args)
  expect(stdout.trim().split('\n')).toEqual([copied, copied, copied])
  expect(stderr).toBe('')
}, 60_000)

test('a process can be made to create its databases', async () => {
  const copied = await identifier(freshPglite())
  const args = ['--input-type=module', '-e', CHILD, 'memory://']
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: makingDatabases() })
  expect(stdout).toMatch(/^\d+\n$/)
  expect(stdout.trim()).not.toBe(copied)
}, 60_000)
